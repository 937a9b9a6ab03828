"""What a person sees of a training: a bar in a terminal, a line at every validation elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from pixgraph.errors import DependencyError


class Progress:
    """Shows loss and validation mIoU on standard error.

    Args:
        steps: Steps of the whole run.
        start: Steps that are done already.
        shown: Off in all processes but the first.
        stream: Where to write; standard error when not given.
    """

    def __init__(self, steps: int, start: int = 0, shown: bool = True, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._steps = steps
        self._shown = shown
        self._losses: list[float] = []
        self._since = time.perf_counter()
        self._values: dict[str, str] = {}
        self._told = 0
        tty = shown and self._stream.isatty()
        bar = {"total": steps, "initial": start, "unit": "step", "dynamic_ncols": True}
        self._bar = tqdm(**bar, file=self._stream) if tty else None

    def step(self, loss: float) -> None:
        """One more training step is done."""
        self._losses.append(loss)
        if self._bar is not None:
            recent = self._losses[-50:]
            self._values["loss"] = f"{sum(recent) / len(recent):.3f}"
            self._bar.set_postfix(self._values, refresh=False)
            self._bar.update()

    def validated(self, step: int, miou: float, best: float) -> None:
        """A validation is done; `best` is the best mIoU so far, this one included."""
        steps, losses, seconds = len(self._losses), self._losses, time.perf_counter() - self._since
        self._losses, self._since = [], time.perf_counter()
        self._values["val mIoU"] = f"{miou:.4f} (best {best:.4f})"
        if self._bar is not None:
            self._bar.set_postfix(self._values)
        elif self._shown:
            words = [f"step {step}/{self._steps}", f"val mIoU {miou:.4f}", f"best {best:.4f}"]
            if steps:  # none right after a resume
                words[1:1] = [f"loss {sum(losses) / steps:.4f}"]
                words.append(f"{seconds / steps:.2f} s/step")
            print("  ".join(words), file=self._stream, flush=True)

    def logged(self, step: int, values: Mapping[str, Any], every: int = 100) -> None:
        """Show the loss and the spread of the embedding, in a file only now and then.

        Args:
            step: Steps done.
            values: Numbers, ``loss`` and perhaps ``embedding_std`` and ``embedding_rank`` among them.
            every: Fewest steps between two lines where there is no terminal; the first and last are always shown.
        """
        names = [name for name in ("embedding_std", "embedding_rank") if name in values]
        shown = [f"{name.removeprefix('embedding_')} {values[name]:.3g}" for name in names]
        if self._bar is not None:
            self._values.update({"embedding": ", ".join(shown)} if shown else {})
            self._bar.set_postfix(self._values, refresh=False)
        elif self._shown and (step in (1, self._steps) or step // every > self._told):
            self._told = step // every
            line = "  ".join([f"loss {values['loss']:.4f}", *([f"embedding {', '.join(shown)}"] if shown else [])])
            print(f"step {step}/{self._steps}  {line}", file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """Show a line between the others."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._shown:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


class TensorBoard:
    """Scalars for TensorBoard in a run's folder ``tensorboard``.

    Args:
        folder: The run's folder.
        start: Steps that are done; later ones of an interrupted run are hidden.

    Raises:
        DependencyError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DependencyError(
                "TensorBoard is asked for but not installed: pip install 'pixgraph[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write every number of `values` as ``kind/name``."""
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Let the events reach the disk."""
        self._writer.close()
