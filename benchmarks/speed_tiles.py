"""A 4096 x 4096 picture in overlapping tiles against the whole picture: accuracy, seams, time and memory.

    python benchmarks/speed_tiles.py --data ROOT

The picture is put together from the nuclei of BBBC038 (two stainings are two classes), and so is the labelled one, from
five other pictures a class. Without files: `--dataset synthetic --backbone filters --size 128 --cell 128`. Accuracy and
seams are those of one process; time and memory are measured in a process a setting, which reads files and writes mask
and probabilities as `pixgraph predict --probabilities` does. A setting that needs more than `--limit_gb` is listed so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recording import MORE, percent, provenance, script_parser, table, write_result
from tiles_plot import draw_costs, draw_masks
from workbench import SOURCES, WEIGHTS, add_output_arguments, guarded, open_split

from pixgraph.tiling import Tiling


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write tables and pictures; in a child, measure one setting and print it."""
    args = parser().parse_args(argv)
    from tiles_measure import measure_cost

    if args.child:
        print(json.dumps(measure_cost(args)))
        return 0
    result, masks = measure(args)
    name, folder = args.name or "speed_tiles", Path(args.out)
    path = write_result(name, result, report(result, name), folder)
    draw_costs(result, folder / f"{name}.png")
    draw_masks(masks, args.tile, folder / f"{name}_masks.png")
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--data", metavar="ROOT", help="folder that holds dsb2018-nuclei (default: $PIXGRAPH_DATA)")
    add("--dataset", default="nuclei", choices=sorted(SOURCES), help="small pictures (default: %(default)s)")
    add("--weights", metavar="FILE", help=f"weights of the backbone (default: {WEIGHTS} in ROOT, where it is there)")
    add("--backbone", default="mobilenet_v2", help="name of the frozen CNN (default: %(default)s)")
    add("--run", metavar="RUN", help="a trained run; none: the training-free graph")
    add("--size", type=int, default=256, help="working size of a tile, and of the squashed picture (default: 256)")
    add("--cell", type=int, default=256, help="side of a small picture in the large one (default: %(default)s)")
    add("--sides", type=int, nargs="+", default=[1024, 2048, 4096], help="of the pictures (default: 1024 2048 4096)")
    add("--tile", type=int, default=256, help="of the measurements of time and memory (default: %(default)s)")
    add("--tiles", type=int, nargs="*", default=[256, 512, 1024], help="of those of accuracy (default: 256 512 1024)")
    add("--overlap", type=int, help=argparse.SUPPRESS)
    add("--limit_gb", type=float, default=12.0, help="most memory of a setting (default: %(default)g)")
    add("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    add_output_arguments(made)
    return made


def measure(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result, and the picture with some of its masks for drawing."""
    from tiles_measure import accuracy, cost, write_pictures
    from tiles_picture import large_picture

    side = max(args.sides)
    picture = large_picture(open_split(args, "test"), side, args.cell)
    ways = [None, *(Tiling(tile, overlap) for tile in args.tiles if tile < side for overlap in (0, tile // 8))]
    found = [accuracy(args, picture, tiling, args.size) for tiling in ways]
    masks = {f"{one['tile']}/{one['overlap']}" if one["tile"] else "whole": one.pop("mask") for one in found}
    costs = []
    for side in args.sides:
        with tempfile.TemporaryDirectory() as name:
            write_pictures(picture.part(side), Path(name))
            for size, tiling in ((args.size, Tiling(args.tile, args.tile // 8)), (args.size, None), (side, None)):
                costs.append(cost(args, side, tiling, size, Path(name)))
                print(costs[-1], file=sys.stderr)
    settings = {key: getattr(args, key) for key in ("dataset", "backbone", "size", "cell", "tile", "limit_gb")}
    method = "graph" if args.run else "propagate"
    result = {**provenance(args.data), **settings, "method": method, "classes": picture.names}
    drawn = {"rgb": picture.rgb, "truth": picture.truth, **masks}
    return {**result, "side": max(args.sides), "accuracy": found, "costs": costs}, drawn


def report(result: Mapping[str, Any], name: str) -> str:
    """Tables of accuracy, seams, time and memory."""
    return "\n\n".join(
        [
            f"Method {result['method']}, backbone {result['backbone']}, classes {', '.join(result['classes'])}; small "
            f"pictures of {result['dataset']}, {result['cell']} pixels a side. The labelled picture is as large as the "
            f"one to segment. Every tile, or the whole picture, is squashed to {result['size']} pixels.",
            f"{result['side']} x {result['side']} pixels. Seams: how much the probabilities (or the class) change from "
            "one pixel to the next across a border of tiles, over the same at other lines of a tile, whole cells of "
            "the backbone's coarsest level away from the border; 1 is invisible. In brackets mean ± standard deviation "
            "of the single borders.",
            table(
                ["prediction", "tiles", "mIoU %", "seams: probabilities", "seams: class", "seconds"],
                [_accuracy_row(one) for one in result["accuracy"]],
            ),
            MORE,
            f"Time and memory, a process a setting; tiles of {result['tile']}. Resident memory: before = after "
            "having seen the labelled picture; beyond = peak of the prediction minus before, minus 4 bytes a pixel "
            "for picture and mask. Whole at its own size: the working size is the picture's, every 8th pixel a node.",
            table(
                [
                    "setting",
                    "pixels a side",
                    "mIoU %",
                    "s",
                    "before, MB",
                    "peak, MB",
                    "picture + mask, MB",
                    "beyond, MB",
                ],
                [_cost_row(one) for one in result["costs"]],
            ),
            f"![memory, time, seams]({name}.png)\n\n![masks]({name}_masks.png)",
        ]
    )


def _accuracy_row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    way = f"tiles of {one['tile']}, overlap {one['overlap']}" if one["tile"] else "whole, squashed"
    seams = one.get("seams", {"borders": 0})
    shown = ("-", "-")
    if seams["borders"]:
        shown = (
            f"{seams['ratio']:.2f} ({seams['ratio_mean']:.2f} ± {seams['ratio_sd']:.2f})",
            f"{seams['flip_ratio']:.2f}",
        )
    return way, one["tiles"], percent(one["miou"]), *shown, f"{one['seconds']:.1f}"


def _cost_row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    way = "tiles" if one["tile"] else "whole, at its own size" if one["size"] == one["side"] else "whole, squashed"
    if "failed" in one:
        return way, one["side"], one["failed"], *["-"] * 5
    memory = (f"{one[key]:.0f}" for key in ("before_mb", "peak_mb", "picture_and_mask_mb", "beyond_mb"))
    return way, one["side"], percent(one["miou"]), f"{one['seconds']:.1f}", *memory


if __name__ == "__main__":
    sys.exit(guarded(main))
