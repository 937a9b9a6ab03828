"""``pixgraph pretrain``: pretrain a backbone on pictures without labels."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixgraph.cli.options import option_value, parse, run_settings, with_alias
from pixgraph.cli.train import NAME, RESUME
from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import PretrainConfig

METHODS = {
    "pixpro": "PixPro: pixels of two views that show the same spot agree (Xie et al. 2021)",
    "pixcontrast": "PixContrast: and differ from all other pixels (the same paper)",
    "pixpro_full": "PixPro with one vector a pixel, on a UNet",
    "pairs": "only draw the positive pairs of a few pictures into pairs.png, or into --out FILE",
}
OUT = {"metavar": "FILE", "help": "Where `pairs` draws (default: pairs.png)."}


def run(argv: Sequence[str]) -> int:
    """Pretrain as the arguments say and print where the run lies, or draw positive pairs."""
    action, argv = _action(argv)
    if action == "pairs":
        return _draw(argv)
    config, resume = parse_pretrain(action, argv)
    from pixgraph.pretrain.run import pretrain

    folder = pretrain(config, resume)
    if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
        print(f"run folder: {folder.path}\nnext: --backbone.weights {folder.path}")
    return 0


def parse_pretrain(method: str, argv: Sequence[str]) -> tuple[PretrainConfig, bool]:
    """The configuration of a pretraining, and whether it goes on with an existing run.

    Raises:
        ConfigError: An argument is wrong, no pictures are named, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = with_alias(argv, "--name", "--run")
    value = option_value(argv, "--resume")
    base: dict[str, Any] = {"method": method}
    if value is not None:
        name = option_value(argv, "--run")
        if not value and not name:
            raise ConfigError("--resume: nothing says which run; expected --resume RUN_FOLDER, or --run NAME beside it")
        folder = Path(value) if value else Path(option_value(argv, "--runs") or "runs") / str(name)
        base = {**run_settings(folder, PretrainConfig), "runs": str(folder.parent), "run": folder.name}
    config = parse(PretrainConfig, f"pretrain {method}", _as_list(argv), base, {"--resume": RESUME, "--name": NAME})
    if config.method != method:
        raise ConfigError(f"method: got {config.method}, expected {method} as the command says; leave one of them out")
    if not config.data:
        raise ConfigError("data: got nothing, expected --data FOLDER with pictures, or --data NAME:FOLDER")
    return config, value is not None


def _action(argv: Sequence[str]) -> tuple[str, list[str]]:
    argv = list(argv)
    action = argv.pop(0) if argv and not argv[0].startswith("-") else ""
    if not action and {"-h", "--help"} & set(argv):
        return "pixpro", argv
    if action not in METHODS:
        listed = "; ".join(f"{name}: {text}" for name, text in METHODS.items())
        raise ConfigError(f"pretrain: got {action or 'no method'!r}, expected one of {listed}")
    return action, argv


def _draw(argv: Sequence[str]) -> int:
    """Draw the positive pairs of a few pictures."""
    out = Path(option_value(argv, "--out") or "pairs.png")
    config = parse(PretrainConfig, "pretrain pairs", _as_list(argv), more={"--out": OUT})
    from pixgraph.pretrain.draw_pairs import write_pair_pictures
    from pixgraph.pretrain.pictures import Pictures, find_pictures

    paths = find_pictures(config.data)
    pictures = Pictures(paths, config.broken_limit, 2 * config.views.size, config.views.size)
    write_pair_pictures(config, pictures, out)
    print(out)
    return 0


def _as_list(argv: Sequence[str]) -> list[str]:
    """``--data A B`` as the list that the parser of settings expects, and a single folder as a list of one."""
    words, taken = list(argv), []
    while "--data" in words:
        start = words.index("--data")
        end = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
        taken += words[start + 1 : end]
        del words[start:end]
    return [*words, *([f"--data={json.dumps(taken)}"] if taken else [])]
