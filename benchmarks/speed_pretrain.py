"""A step of pretraining: PixelCL beside the published package, PixPro at full resolution beside its UNet, and memory.

    python benchmarks/speed_pretrain.py

Needs `pip install pixel-level-contrastive-learning` for the comparison. `--device cuda` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pretrain_measure import MEMORY_SHARE, available_mb, memory_of, time_steps
from pretrain_report import draw, report
from pretrain_steps import ALL_PAIRS, FORMS, NETWORK, OURS, PACKAGE, TARGET, WHOLE_STEP, Case, Full
from recording import provenance, script_parser, write_result
from workbench import add_output_arguments, guarded, parsed

CASES = (Case(8, "layer4", 256, 8), Case(28, "layer2", 224, 2), Case(64, "layer1", 256, 2))
QUICK_CASES = (Case(2, "layer4", 64, 2, 16), Case(8, "layer2", 64, 2, 16))
FULL = Full("unet", 128, 8)
GROWTH = Full("unet-small", 64, 1, 64)
QUICK = {"network": "unet-small", "batch": 2, "size": 32, "sizes": [32, 48], "rounds": 1, "slow_rounds": 1}
SIZES = [64, 128, 256, 512]
LARGEST = 192
"""Side in pixels up to which PixPro's own propagation, of all pixels, is tried."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the tables and the plot."""
    args = parsed(parser, argv, QUICK)
    cases = [replace(case, device=args.device) for case in (QUICK_CASES if args.quick else CASES)]
    full = replace(FULL, network=args.network, size=args.size, batch=args.batch, device=args.device)
    result = {
        **provenance(),
        "device": args.device,
        "pixelcl": [compare(case, args) for case in cases],
        "full": full_resolution(full, args),
        "growth": growth(args),
    }
    name = args.name or "speed_pretrain"
    path = write_result(name, result, report(result, name), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--network", default=FULL.network, help="UNet of the full-resolution step (default: %(default)s)")
    add("--size", type=int, default=FULL.size, help="side of its views in pixels (default: %(default)s)")
    add("--batch", type=int, default=FULL.batch, help="its pictures a step (default: %(default)s)")
    add("--sizes", type=int, nargs="+", default=SIZES, help="sides for growth (default: 64 128 256 512)")
    add("--rounds", type=int, default=5, help="rounds of PixelCL's steps (default: %(default)s)")
    add("--slow_rounds", type=int, default=3, help="rounds of full-resolution steps (default: %(default)s)")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: %(default)s)")
    add("--no_memory", action="store_true", help="leave out peak memory, which needs a process for each step")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs; its numbers mean nothing")
    add_output_arguments(made)
    return made


def compare(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of PixelCL at a map, ours and the package's."""
    specs: list[dict[str, Any]] = [{"kind": "pixelcl", "name": name, "case": asdict(case)} for name in (PACKAGE, OURS)]
    skipped: dict[str, Any] = {}
    if args.device == "cpu" and case.broadcast_bytes / 2**20 > MEMORY_SHARE * available_mb():
        size = f"{case.broadcast_bytes / 2**30:.0f} GiB"
        skipped[PACKAGE] = {"skipped": f"{size} for one of its arrays, which hold all pairs of cells and all channels"}
    memory = {spec["name"]: skipped.get(spec["name"]) or peak([spec], args)[0] for spec in specs}
    # What does not fit into the memory is not timed either.
    skipped |= {name: found for name, found in memory.items() if "skipped" in found and not args.no_memory}
    timed = time_steps([spec for spec in specs if spec["name"] not in skipped], args.rounds)
    return {"case": asdict(case), "time": {**skipped, **timed}, "memory": memory}


def full_resolution(full: Full, args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of a full-resolution step and of its UNet alone."""
    specs = [{"kind": "full", "name": name, "case": asdict(full)} for name in (NETWORK, TARGET, WHOLE_STEP)]
    memory = {spec["name"]: peak([spec], args)[0] for spec in specs if spec["name"] != TARGET}
    # A step takes seconds: what the first one pays for once is lost in it.
    return {"case": asdict(full), "time": time_steps(specs, args.slow_rounds, warm_up=0), "memory": memory}


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory and time of propagation and of a whole step with a small UNet, by the side of the picture."""
    kinds: dict[str, list[dict[str, Any]]] = {
        name: [{"size": size, "device": args.device} for size in args.sizes] for name in (*FORMS, ALL_PAIRS)
    }
    kinds[WHOLE_STEP] = [asdict(replace(GROWTH, size=size, device=args.device)) for size in args.sizes]
    found = []
    for name, settings in kinds.items():
        kind = "full" if name == WHOLE_STEP else "propagation"
        tried = [one for one in settings if name != ALL_PAIRS or one["size"] <= LARGEST]
        peaks = peak([{"kind": kind, "name": name, "case": case} for case in tried], args)
        found += [{"size": case["size"], "name": name, **one} for case, one in zip(tried, peaks, strict=True)]
        for case in settings[len(tried) :]:
            reason = f"{4 * case['size'] ** 4 / 2**30:.0f} GiB for its weights"
            found.append({"size": case["size"], "name": name, "skipped": reason})
    return found


def peak(specs: list[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """`memory_of`, where it is asked for."""
    return [{"skipped": "not measured"}] * len(specs) if args.no_memory or not specs else memory_of(specs)


if __name__ == "__main__":
    sys.exit(guarded(main))
