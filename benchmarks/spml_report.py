"""The tables of `spml_marks`: classifier alone and SPML by annotation, gains seed by seed, and classes."""

from __future__ import annotations

from typing import Any

from label_tables import by_seed, class_table, gain, minutes
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
        "own marks; gains are means of the differences to the classifier of the same seed. spml: the contrasts alone "
        "form the embedding, as published; spml+: the classifier's gradient reaches the network, too."
    )
    classes = class_table(runs, "annotation", [(kind, method) for kind in kinds for method in METHODS])
    return f"{about}\n\n{table(head, rows)}\n\n{MORE}\n\n## Classes\n\n{classes}"


def _kind(kind: str, runs: list[dict[str, Any]]) -> list[list[str]]:
    """One row a method."""
    rows, before = [], None
    for method in METHODS:
        own = by_seed(runs, "annotation", (kind, method))
        if not own:
            continue
        score, right, found = (
            percent(*mean_and_deviation(run[key] for run in own.values()))
            for key in ("miou", "pixel_accuracy", "retrieval")
        )
        rows.append([f"{kind}, {method}", score, gain(own, before), right, found, str(len(own)), minutes(own)])
        before = before or own
    return rows
