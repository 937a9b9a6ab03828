"""Exponentially averaged weights: they score better and vary less than the raw ones."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """Moving average of a network's weights: w' = decay * w' + (1 - decay) * w after each step, w' = w after the first.

    Buffers are copied, not averaged.

    Args:
        network: The network that is trained; the average starts as a copy of it.
        decay: In [0, 1); 0 keeps no average, and `network` is then the raw network itself.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._raw = network
        self._average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay > 0 else None
        if self._average is not None:
            self._average.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The network to evaluate: the averaged one, or the raw one when no average is kept."""
        return self._raw if self._average is None else self._average.module

    def update(self) -> None:
        """Take in the network's weights after a step."""
        if self._average is not None:
            self._average.update_parameters(self._raw)

    def state_dict(self) -> dict[str, Any] | None:
        """Averaged weights and the number of steps they saw; `None` without an average."""
        if self._average is None:
            return None
        return {"weights": dict(self._average.module.state_dict()), "updates": int(self._average.n_averaged)}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Continue from what `state_dict` gave under the same decay."""
        if self._average is not None and state is not None:
            self._average.module.load_state_dict(state["weights"])
            self._average.n_averaged.fill_(state["updates"])
