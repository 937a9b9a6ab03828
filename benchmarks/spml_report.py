"""The tables of `spml_marks`: classifier alone and SPML by annotation, gains seed by seed, and classes."""

from __future__ import annotations

from typing import Any

from recording import MORE, mean_and_deviation, percent, table

METHODS = ("classifier", "spml", "spml+")
KINDS = ("points", "scribbles", "boxes", "tags", "masks")
REGIONS = {"slic": "SLIC", "felzenszwalb": "Felzenszwalb"}


def report(result: dict[str, Any]) -> str:
    """Markdown of all finished runs."""
    runs = list(result["runs"].values())
    kinds = [kind for kind in KINDS if any(run["annotation"] == kind for run in runs)]
    head = ["marks, method", "mIoU %", "gain", "pixels right %", "by retrieval, mIoU %", "seeds", "minutes a run"]
    rows = [row for kind in kinds for row in _kind(kind, runs)]
    regions = " and ".join(sorted({REGIONS.get(run["regions"], "none") for run in runs}))
    scored = "training pictures held out" if result["dataset"] != "camvid" else f"the {result['split']} split"
    about = (
        f"{result['dataset']}, {len(runs[0]['classes'])} classes, marks on {runs[0]['trained_on']} training pictures, "
        f"scored on {runs[0]['pictures']} pictures ({scored}) at their own size, IoU accumulated. Classifier: the same "
        "network and classifier without contrasts, trained on the same marks for as many steps, its gradient reaching "
        f"the network. Low-level regions of SPML: {regions} of scikit-image in place of HED-OWT-UCM. Retrieval: the "
        "class of most of the 20 nearest training segments. Spread: standard deviation over the seeds, each with its "
        "own marks; gains are means of the differences to the classifier of the same seed. spml+: the "
        "classifier's gradient reaches the network, too."
    )
    return f"{about}\n\n{table(head, rows)}\n\n{MORE}\n\n## Classes\n\n{_classes(runs, kinds)}"


def _kind(kind: str, runs: list[dict[str, Any]]) -> list[list[str]]:
    """One row a method."""
    rows, before = [], None
    for method in METHODS:
        own = {run["seed"]: run for run in runs if (run["annotation"], run["method"]) == (kind, method)}
        if not own:
            continue
        gain = "-"
        if before is not None:
            both = sorted({*own} & {*before})
            gain = percent(*mean_and_deviation(own[s]["miou"] - before[s]["miou"] for s in both), sign=True)
        minutes = mean_and_deviation(run["minutes"] for run in own.values())[0]
        score, right, found = (
            percent(*mean_and_deviation(run[key] for run in own.values()))
            for key in ("miou", "pixel_accuracy", "retrieval")
        )
        rows.append([f"{kind}, {method}", score, gain, right, found, str(len(own)), f"{minutes:.1f}"])
        before = before or own
    return rows


def _classes(runs: list[dict[str, Any]], kinds: list[str]) -> str:
    """IoU of each class, mean over the seeds."""
    pairs = [(kind, method) for kind in kinds for method in METHODS]
    columns = [pair for pair in pairs if any((run["annotation"], run["method"]) == pair for run in runs)]
    rows = []
    for number, name in enumerate(runs[0]["classes"]):
        values = [[r["iou"][number] for r in runs if (r["annotation"], r["method"]) == column] for column in columns]
        rows.append([name, *(percent(mean_and_deviation(v)[0]) for v in values)])
    return table(["class", *(f"{kind} {method}" for kind, method in columns)], rows)
