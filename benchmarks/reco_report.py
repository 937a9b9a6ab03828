"""The tables of `reco_camvid`: methods by label budget, gains seed by seed, and classes."""

from __future__ import annotations

from typing import Any

from recording import MORE, mean_and_deviation, percent, table

ORDER = ("supervised", "supervised+reco", "cutmix", "classmix", "classmix+reco")


def report(result: dict[str, Any]) -> str:
    """Markdown of all finished runs."""
    runs = list(result["runs"].values())
    budgets = sorted({run["labels"] for run in runs}, key=lambda word: (not word.isdigit(), word))
    methods = [name for name in ORDER if any(run["method"] == name for run in runs)]
    rows = [row for labels in budgets for row in _budget(labels, methods, runs)]
    head = ["labels, method", "mIoU %", "pixels right %", "gain over the row before", "seeds", "minutes a run"]
    about = (
        f"CamVid, 11 classes, {runs[0]['pictures']} pictures of the official {result['split']} split at 480 x 360, IoU "
        "accumulated over the split. The teacher after the last step is scored. Spread: standard deviation over the "
        "seeds, each with its own labels; gains are means of the differences of the same seed."
    )
    return f"{about}\n\n{table(head, rows)}\n\n{MORE}\n\n## Classes\n\n{_classes(runs, budgets, methods)}"


def _budget(labels: str, methods: list[str], runs: list[dict[str, Any]]) -> list[list[str]]:
    """One row a method."""
    rows, before = [], None
    for method in methods:
        own = {run["seed"]: run for run in runs if (run["labels"], run["method"]) == (labels, method)}
        if not own:
            continue
        gain = "-"
        if before is not None:
            both = sorted({*own} & {*before})
            gain = percent(*mean_and_deviation(own[s]["miou"] - before[s]["miou"] for s in both), sign=True)
        minutes = mean_and_deviation(run["minutes"] for run in own.values())[0]
        name = f"{labels} pictures" if labels.isdigit() else f"{labels} of all pictures"
        scores = [percent(*mean_and_deviation(r[key] for r in own.values())) for key in ("miou", "pixel_accuracy")]
        rows.append([f"{name}, {method}", *scores, gain, str(len(own)), f"{minutes:.1f}"])
        before = own
    return rows


def _classes(runs: list[dict[str, Any]], budgets: list[str], methods: list[str]) -> str:
    """IoU of each class, mean over the seeds."""
    columns = [(b, m) for b in budgets for m in methods if any((r["labels"], r["method"]) == (b, m) for r in runs)]
    rows = []
    for number, name in enumerate(runs[0]["classes"]):
        values = [[r["iou"][number] for r in runs if (r["labels"], r["method"]) == column] for column in columns]
        rows.append([name, *(percent(mean_and_deviation(v)[0]) for v in values)])
    return table(["class", *(f"{b} {m}" for b, m in columns)], rows)
