"""The page of a probe: one HTML file that needs no other file, no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pixgraph.errors import RunError
from pixgraph.probe.results import read_results
from pixgraph.training.atomic import write_atomic

_PICTURES = {
    "colors.jpg": (
        "The embedding in colours",
        "Three principal components of the embedding of all these pictures as red, green and blue: what has one colour "
        "lies together.",
    ),
    "similarity.jpg": (
        "Similarity to single pixels",
        "Cosine of every pixel with the one that wears the ring: bright yellow is 1.",
    ),
    "retrieval-pixels.jpg": (
        "Pixels that look alike",
        "Left the query; then the pictures with the most similar pixel, under the heat of their similarity. Frames: "
        "green of the query's class, red of another.",
    ),
    "retrieval-segments.jpg": ("Segments that look alike", "The same for superpixels and their mean embedding."),
}


def write_page(folder: str | Path) -> Path:
    """Write index.html from probe.json and the pictures of a folder; what is missing is left out.

    Raises:
        RunError: The results cannot be read, or the page cannot be written.
    """
    target = Path(folder) / "index.html"
    pictures = {name: (Path(folder) / name).read_bytes() for name in _PICTURES if (Path(folder) / name).is_file()}
    try:
        write_atomic(target, render(Path(folder).resolve().name, read_results(folder), pictures).encode())
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; free space or change permissions") from error
    return target


def render(name: str, results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page as text.

    Args:
        name: Heading.
        results: Content of probe.json.
        pictures: File name to JPEG.
    """
    retrieval = results.get("retrieval") or {}
    body = [
        f'<header><h1>{escape(name)}</h1><p class="soft">{escape(_subtitle(results))}</p></header>',
        _linear(results["linear"]) if "linear" in results else "",
        _few_shot(results["few_shot"]) if "few_shot" in results else "",
        *(_retrieval(kind, retrieval[kind]) + _picture(f"retrieval-{kind}.jpg", pictures) for kind in retrieval),
        _picture("colors.jpg", pictures),
        _picture("similarity.jpg", pictures),
    ]
    style = files("pixgraph.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} · pixgraph</title><style>\n{style}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _subtitle(results: Mapping[str, Any]) -> str:
    found = results.get("embedding") or {}
    levels = "all levels" if found.get("levels") is None else f"levels {found['levels']}"
    return (
        f"{found.get('name')}, pretrained on {found.get('pretrained_on')}, at {found.get('size')} pixels, {levels} "
        f"({found.get('fingerprint')})"
    )


def _linear(found: Mapping[str, Any]) -> str:
    about = (
        f"Logistic regression of single pixels: {found['pixels']:,} of {found['train_pictures']} pictures "
        f"({found['train_split']}), class weighting {found['weighting']}; scored on {found['scored_pictures']} "
        f"pictures of {found['data']}/{found['split']} at their own size, {found['seeds']} seed(s)."
    )
    trivial = found["trivial"]
    top = [
        ["linear probe", _percent(found["miou"], found["miou_sd"]), *_accuracies(found)],
        ["commonest class everywhere", _percent(trivial["miou"]), *_accuracies(trivial)],
    ]
    classes = [
        [escape(name), _percent(iou), _percent(other)]
        for name, iou, other in zip(found["classes"], found["iou"], trivial["iou"], strict=True)
    ]
    matrix = [
        [escape(name), *(f"{n:,}" for n in row)] for name, row in zip(found["classes"], found["confusion"], strict=True)
    ]
    names = [escape(name) for name in found["classes"]]
    return (
        f'<section><h2>Linear probe</h2><p class="soft">{escape(about)}</p>'
        + _table(["", "mIoU %", "pixels right %", "classes right %"], top)
        + _table(["class", "IoU %", "commonest class everywhere"], classes)
        + _fold("Confusion matrix: rows truth, columns prediction", _table(["", *names], matrix))
        + "</section>"
    )


def _accuracies(found: Mapping[str, Any]) -> list[str]:
    return [_percent(found["pixel_accuracy"]), _percent(found["class_accuracy"])]


def _few_shot(found: Mapping[str, Any]) -> str:
    about = (
        f"{found['n_way']}-way {found['k_shot']}-shot on {found['dataset']}/{found['split']}, "
        f"{found['episodes']} episodes x {len(found['seeds'])} seed(s), scored as {found['protocol']} does"
        f"{'' if found['full_protocol'] else ' (not the whole protocol)'}."
    )
    rows = [
        [escape(name), _percent(m["miou"], m["miou_sd"]), _percent(m["fb_iou"])] for name, m in found["methods"].items()
    ]
    table = _table(["method", "mIoU %", "FB-IoU %"], rows)
    return f'<section><h2>Few-shot, without training</h2><p class="soft">{escape(about)}</p>{table}</section>'


def _retrieval(kind: str, found: Mapping[str, Any]) -> str:
    about = (
        f"{found['queries']} {kind} of {found['data']}/{found['split']} ask {found['pictures']} pictures of "
        f"{', '.join(found['splits'])}; each of the {found['top']} answers is the best of another picture. Chance is "
        f"the share of the class among all that is searched.{_apart(found['apart'])}"
    )
    rows = [
        [escape(name), _percent(c["hit_rate"]), _percent(c["chance"]), str(c["queries"])]
        for name, c in found["classes"].items()
    ]
    if rows:
        means = [_percent(found[key]) for key in ("hit_rate", "chance")]
        rows.append(["mean over classes", *means, str(found["queries"])])
    table = _table(["class", "hit rate %", "chance %", "queries"], rows) if rows else ""
    return f'<section><h2>Retrieval of {kind}</h2><p class="soft">{escape(about)}</p>{table}</section>'


def _apart(apart: int) -> str:
    if apart:
        return f" The {apart} pictures before and after the query's own, by file name, are not searched."
    return " In a video the pictures before and after show the same things again: see retrieval.apart."


def _picture(name: str, pictures: Mapping[str, bytes]) -> str:
    if name not in pictures:
        return ""
    title, note = _PICTURES[name]
    source = base64.b64encode(pictures[name]).decode()
    return (
        f'<section><h3>{escape(title)}</h3><p class="soft">{escape(note)}</p><div class="graph">'
        f'<img src="data:image/jpeg;base64,{source}" alt="{escape(title, quote=True)}"></div></section>'
    )


def _percent(value: float | None, deviation: float | None = None) -> str:
    """A fraction in percent; the full value stands in ``data-value``."""
    if value is None:
        return "-"
    spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
    return f'<span data-value="{value!r}">{100 * value:.2f}</span>{spread}'


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="card wide"><table>{"".join(lines)}</table></div>'
