"""The program ``pixgraph``: picks the command, and turns errors that users can mend into one line and exit code 2."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence

from pixgraph.cli.listing import listing
from pixgraph.errors import PixgraphError
from pixgraph.version import __version__

COMMANDS = {
    "pretrain": "pretrain a backbone, without labels (PixPro and its relatives) or with few (ReCo, SPML)",
    "train": "train the GNN on episodes of a data set",
    "evaluate": "score a run or a training-free method on unseen classes, beside the trivial baselines",
    "predict": "segment a folder of pictures from a few labelled ones",
    "probe": "measure and show what a frozen embedding is worth: linear probe, retrieval, colours, few-shot",
    "study": "measure which settings of graph construction matter, and recommend some",
    "demo": "train, evaluate and segment a photograph in a few minutes, without any download",
    "data": "list the data sets, check a folder, show its masks, make points, scribbles, boxes or tags of them",
}
"""Command to its one-line description; each is a module of `pixgraph.cli` with a function ``run(argv) -> int``."""


ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a part of this path is a file: name a folder there",
    errno.EEXIST: "a file of this name is in the way: choose another one",
}
"""What to do about errors of the system."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; those of the process when not given.

    Returns:
        Exit code: 0 done; 1 done, but some pictures failed; 2 the input has to be mended; 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(argv)
    except PixgraphError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("pixgraph: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(_explain(error))
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        return _fail(
            "out of memory: take a smaller backbone.size, train.batch or optim.batch, or a larger graph.stride "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )


def usage() -> str:
    """What ``pixgraph --help`` prints."""
    return listing(
        "pixgraph [--help] [--version] COMMAND ...",
        "Few-shot segmentation with graphs of pixels.",
        "commands",
        COMMANDS,
        "`pixgraph COMMAND --help` lists the options of a command.",
    )


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] in ("--version", "-V"):
        print(f"pixgraph {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        return _fail(f"unknown command {argv[0]!r}; expected one of {', '.join(COMMANDS)}; see pixgraph --help")
    # Only now: each command imports what it needs, and `--help` stays quick.
    command = importlib.import_module(f"pixgraph.cli.{argv[0]}")
    try:
        return command.run(argv[1:])
    except SystemExit as stop:
        if isinstance(stop.code, str):
            return _fail(stop.code)
        return stop.code or 0


def _fail(message: str) -> int:
    print(f"pixgraph: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _explain(error: OSError) -> str:
    """What the system refused, where, and what to do; files in the making have the name that they were to have."""
    name = str(error.filename2 or error.filename or "system")
    name = re.sub(r"(^|[\\/])\.([^\\/]+?)(\.\d+)?\.tmp$", r"\1\2", name)
    advice = ADVICE.get(error.errno or 0, "check the path and the disk")
    return f"{name}: {error.strerror or error}; {advice}"


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "not enough memory" in str(error)


if __name__ == "__main__":
    sys.exit(main())
