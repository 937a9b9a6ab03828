"""The tables of `reco_camvid`: methods by label budget, gains seed by seed, and classes."""

from __future__ import annotations

from typing import Any

from label_tables import by_seed, class_table, gain, minutes
from recording import MORE, mean_and_deviation, percent, table

ORDER = ("supervised", "supervised+reco", "cutmix", "classmix", "classmix+reco")


def report(result: dict[str, Any]) -> str:
    """Markdown of all finished runs."""
    runs = list(result["runs"].values())
    budgets = sorted({run["labels"] for run in runs}, key=lambda word: (not word.isdigit(), word))
    methods = [name for name in ORDER if any(run["method"] == name for run in runs)]
    rows = [row for labels in budgets for row in _budget(labels, methods, runs)]
    head = ["labels, method", "mIoU %", "pixels right %", "gain over the row before", "seeds", "minutes a run"]
    steps = ", ".join(str(count) for count in sorted({run["steps"] for run in runs}))
    about = (
        f"CamVid, 11 classes, {runs[0]['pictures']} pictures of the official {result['split']} split at 480 x 360, IoU "
        f"accumulated over the split. The teacher after the last step ({steps}) is scored. Spread: standard deviation "
        "over the seeds, each with its own labels; gains are means of the differences of the same seed."
    )
    classes = class_table(runs, "labels", [(labels, method) for labels in budgets for method in methods])
    return f"{about}\n\n{table(head, rows)}\n\n{MORE}\n\n## Classes\n\n{classes}"


def _budget(labels: str, methods: list[str], runs: list[dict[str, Any]]) -> list[list[str]]:
    """One row a method."""
    rows, before = [], None
    name = f"{labels} pictures" if labels.isdigit() else f"{labels} of all pictures"
    for method in methods:
        own = by_seed(runs, "labels", (labels, method))
        if not own:
            continue
        scores = [percent(*mean_and_deviation(r[key] for r in own.values())) for key in ("miou", "pixel_accuracy")]
        rows.append([f"{name}, {method}", *scores, gain(own, before), str(len(own)), minutes(own)])
        before = own
    return rows
