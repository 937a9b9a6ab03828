"""Scores as a person reads them in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixgraph.evaluation.result import Evaluation


def result_table(evaluation: Evaluation) -> str:
    """Protocol, one line a method (mIoU and FB-IoU in %, mean and standard deviation over seeds), and the classes."""
    found = evaluation.to_dict()
    seeds = len(found["seeds"])
    part = "" if found["full_protocol"] else "  (NOT the whole protocol)"
    backbone = found["backbone"]
    lines = [
        f"{found['dataset']}/{found['split']}, {found['n_way']}-way {found['k_shot']}-shot, {found['protocol']}: "
        f"{found['episodes']} episodes x {seeds} seeds{part}",
        f"backbone {backbone['name']} ({backbone['pretrained_on']}) at {backbone['size']} pixels, "
        f"episodes {', '.join(found['episode_hash'].values())}",
        "",
        f"{'method':<16} {'mIoU %':>14} {'FB-IoU %':>14} {'ms/query':>9}",
    ]
    for name, scores in found["methods"].items():
        miou, fb = (_percent(scores[key], scores[f"{key}_sd"]) for key in ("miou", "fb_iou"))
        lines.append(f"{name:<16} {miou:>14} {fb:>14} {scores['ms_per_query']:>9.1f}")
    lines += ["", f"IoU % of {found['main']} by class:"]
    per_class: dict[str, Any] = found["methods"][found["main"]]["per_class"]
    width = max(map(len, per_class), default=0)
    lines += [f"  {name:<{width}} {_percent(value, None):>7}" for name, value in per_class.items()]
    lines.append(f"{found['seconds']:.1f} s, peak memory {found['peak_memory_mb']:.0f} MB")
    return "\n".join(lines)


def _percent(value: float | None, deviation: float | None) -> str:
    """A fraction in percent with two decimals; "-" where it is undefined."""
    if value is None:
        return "-"
    return f"{100 * value:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")
