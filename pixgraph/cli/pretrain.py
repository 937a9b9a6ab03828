"""``pixgraph pretrain``: pretrain a backbone, on pictures alone or with a few labels."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from pixgraph.cli.listing import listing
from pixgraph.cli.options import NAME, RESUME, option_value, parse, resumed_settings, with_alias
from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import PretrainConfig

METHODS = {
    "pixpro": "PixPro: pixels of two views that show the same spot agree (Xie et al. 2021)",
    "pixcontrast": "PixContrast: and differ from all other pixels (the same paper)",
    "pixpro_full": "PixPro with one vector a pixel, on a UNet",
    "reco": "ReCo: segmentation from a few labelled pictures and many others (Liu et al. 2022)",
    "spml": "SPML: segments attract and repel pixels, from points, scribbles, boxes or tags (Ke et al. 2021)",
    "pairs": "only draw the positive pairs of a few pictures into pairs.png, or into --out FILE",
}
WITH_LABELS = {"reco": "pretrain_reco", "spml": "pretrain_spml"}
"""Method to the module of `pixgraph.cli` that understands its own options."""

DEFAULTS = {"pixpro_full": {"backbone": "unet"}}
"""Settings that differ from `PretrainConfig` for a method."""

OUT = {"metavar": "FILE", "help": "Where `pairs` draws (default: pairs.png)."}


def run(argv: Sequence[str]) -> int:
    """Pretrain as the arguments say and print where the run lies, or draw positive pairs."""
    if argv and argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    method, rest = argv[0] if argv else "", list(argv[1:])
    if method not in METHODS:
        got = repr(method) if method else "no method"
        raise ConfigError(f"pretrain: got {got}, expected one of {', '.join(METHODS)}; see pixgraph pretrain --help")
    if method in WITH_LABELS:
        return int(importlib.import_module(f"pixgraph.cli.{WITH_LABELS[method]}").run(rest))
    if method == "pairs":
        return _draw(rest)
    config, resume = parse_pretrain(method, rest)
    from pixgraph.pretrain.run import pretrain

    tell_run(pretrain(config, resume).path)
    return 0


def usage() -> str:
    """What ``pixgraph pretrain --help`` prints."""
    return listing(
        "pixgraph pretrain METHOD [--config FILE] [--OPTION VALUE ...]",
        "Pretrain a CNN whose feature maps then serve as node embeddings: --backbone.weights RUN.",
        "methods",
        METHODS,
        "`pixgraph pretrain METHOD --help` lists the options of a method.",
    )


def tell_run(folder: Path) -> None:
    """Print where a run lies and how its backbone is used; one of torchrun's processes speaks for all."""
    if os.environ.get("RANK", "0") == "0":
        print(f"run folder: {folder}\nnext: --backbone.weights {folder}")


def parse_pretrain(method: str, argv: Sequence[str]) -> tuple[PretrainConfig, bool]:
    """The configuration of a pretraining without labels, and whether it goes on with an existing run.

    Raises:
        ConfigError: An argument is wrong, no pictures are named, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = with_alias(argv, "--name", "--run")
    base = resumed_settings(argv, PretrainConfig)
    settings = {"method": method, **DEFAULTS.get(method, {})} if base is None else base
    more = {"--resume": RESUME, "--name": NAME}
    config = parse(PretrainConfig, f"pretrain {method}", _as_list(argv), settings, more)
    if config.method != method:
        raise ConfigError(f"method: got {config.method}, expected {method} as the command says; leave one of them out")
    if not config.data:
        raise ConfigError("data: got nothing, expected --data FOLDER with pictures, or --data NAME:FOLDER")
    return config, base is not None


def _draw(argv: Sequence[str]) -> int:
    """Draw the positive pairs of a few pictures."""
    out = Path(option_value(argv, "--out") or "pairs.png")
    config = parse(PretrainConfig, "pretrain pairs", _as_list(argv), more={"--out": OUT})
    from pixgraph.pretrain.draw_pairs import write_pair_pictures
    from pixgraph.pretrain.pictures import open_pictures

    write_pair_pictures(config, open_pictures(config), out)
    print(out)
    return 0


def _as_list(argv: Sequence[str]) -> list[str]:
    """``--data A B`` as the list that the parser of settings expects, and a single folder as a list of one."""
    words, taken = list(argv), []
    while found := [i for i, word in enumerate(words) if word.split("=")[0] == "--data"]:
        start = found[0]
        end = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
        first = words[start].partition("=")[2]
        taken += _folders(first) + words[start + 1 : end]
        del words[start:end]
    return [*words, *([f"--data={json.dumps(taken)}"] if taken else [])]


def _folders(text: str) -> list[str]:
    """What stands behind ``--data=``: one folder, or a list as YAML and JSON write it."""
    if not text.startswith("["):
        return [text] if text else []
    import yaml

    try:
        return [str(item) for item in yaml.safe_load(text)]
    except yaml.YAMLError as error:
        raise ConfigError(f"data: got {text!r}, expected a folder, or a list as [FOLDER, FOLDER]") from error
