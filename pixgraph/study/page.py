"""The study's page: one HTML file that needs no other file, no network and no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pixgraph.study.effects import Effect, Interval
from pixgraph.study.findings import Findings, Part
from pixgraph.study.importance import evaluator_name
from pixgraph.study.recommend import RULE, Candidate

NOTES = {
    "pareto": "Each point is a trial. The default is at zero; the line is the Pareto front of accuracy and time.",
    "effects": "One factor is changed at a time, on the same episodes and seeds. Bars: 95 % Student intervals over "
    "data sets, shots and seeds; blue ones are beyond chance among all values tried (Holm). Small marks: "
    "single data sets.",
    "importance": "Share of the variance that a factor explains alone, by {}.",
    "interactions": "Variance of mIoU that a pair explains beyond all main effects, and what permuted trials give. p "
    "is corrected for the number of pairs.",
    "memory": "Memory is the estimate of what the graph takes at most while it is built and used. Times are "
    "processor times where a worker has one thread, brought to an even speed of the machine by a reference that is "
    "timed in every trial.",
}


def render(title: str, found: Findings, pictures: dict[str, Path], settings: dict[str, str]) -> str:
    """The page as text.

    Args:
        title: Heading.
        found: What to show.
        pictures: "pareto", and "effects PART", "importance PART", "interactions PART" to PNG files.
        settings: Name of a recommendation to its YAML text.
    """
    body = [
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(_counts(found))}</p></header>',
        _recommended(found, settings),
        _picture("Accuracy, time and memory", NOTES["pareto"], pictures.get("pareto")),
    ]
    for part in found.parts:
        body += _part(part, found, pictures)
    body += [f'<p class="note">{escape(NOTES["memory"])}</p>', _trials(found)]
    style = files("pixgraph.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · pixgraph</title><style>\n{style}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def points(value: float | None, sign: bool = False) -> str:
    """A fraction in percent with two decimals; the full value stands in ``data-value``."""
    if value is None or not math.isfinite(value):
        return "-"
    return f'<span data-value="{value!r}">{100 * value:{"+" if sign else ""}.2f}</span>'


def interval(found: Interval) -> str:
    """A mean with the ends of its interval, in points."""
    return f"{points(found.mean, True)} <small>{100 * found.low:+.2f} .. {100 * found.high:+.2f}</small>"


def _counts(found: Findings) -> str:
    states = [row.state for row in found.rows]
    text = ", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed") if s in states)
    return f"{len(states)} trials: {text or 'none yet'}"


def _recommended(found: Findings, settings: dict[str, str]) -> str:
    if not found.recommended:
        return ""
    lines = [_recommendation(name, c) for name, c in found.recommended.items()]
    texts = "".join(
        f"<details><summary>{escape(name)}.yaml</summary><pre>{escape(text)}</pre></details>"
        for name, text in settings.items()
    )
    head = ["", "mIoU %", "against the default, points", "ms", "MB", "trial"]
    return (
        f"<section><h2>Recommended settings</h2>{_table(head, lines)}"
        f'<p class="note">{escape(RULE)} The largest of many differences is larger than what it will be on new '
        f"episodes.</p>{texts}</section>"
    )


def _recommendation(name: str, c: Candidate) -> list[str]:
    changed = f"{escape(c.row.part)} {c.row.index}"
    return [
        escape(name),
        points(c.row.miou),
        interval(c.gain),
        f"{c.milliseconds:.1f}",
        f"{c.row.megabytes or math.nan:.1f}",
        changed,
    ]


def _part(part: Part, found: Findings, pictures: dict[str, Path]) -> list[str]:
    name = part.name
    what = {"propagate": "Training-free graph", "train": "Short trainings"}.get(
        part.mode, "Recommended, fresh episodes"
    )
    how = {"grid": "one factor at a time", "random": "random trials", "tpe": "TPE trials"}[part.sampler]
    body = [f"<h2>{what}, {how}</h2>", _about(part)]
    if found.effects.get(name):
        body.append(_picture("Effect of each factor", NOTES["effects"], pictures.get(f"effects {name}")))
        body.append(_fold("Effects as a table", _effects(found.effects[name])))
    if name in found.importance:
        note = NOTES["importance"].format(evaluator_name())
        body.append(_picture("Importance", note, pictures.get(f"importance {name}")))
    if name in found.interactions:
        body.append(_picture("Two factors together", NOTES["interactions"], pictures.get(f"interactions {name}")))
        rows = [
            [f"{escape(i.first)} x {escape(i.second)}", points(i.gain), points(i.noise), f"{i.p:.3f}"]
            for i in found.interactions[name]
        ]
        body.append(_fold("Pairs as a table", _table(["pair", "variance %", "chance (95 %)", "p"], rows)))
    if found.marginals.get(name):
        rows = [
            [f"{escape(m.factor)}: {escape(m.value)}", points(m.miou.mean), _range(m.miou), str(m.miou.count)]
            for m in found.marginals[name]
        ]
        head = ["value", "mean mIoU %", "95 % interval over trials", "trials"]
        body.append(_fold("Mean mIoU of the trials with a value", _table(head, rows)))
    return body


def _about(part: Part) -> str:
    data = part.about.get("data", {})
    options = part.about.get("options", {})
    classes = data.get("classes", {})
    sources = "; ".join(f"{name} ({data['pictures'][name]} pictures: {', '.join(classes[name])})" for name in classes)
    text = (
        f"Scored on the {data.get('split', '?')} classes of {sources or '?'}; {options.get('episodes', '?')} episodes "
        f"x {options.get('seeds', '?')} seeds, {options.get('shots', '?')} shots. Left out, for they "
        f"cannot act here: {', '.join(part.about.get('left_out', [])) or 'none'}."
    )
    return f'<p class="soft">{escape(text)}</p>'


def _effects(found: Sequence[Effect]) -> str:
    sources = list(dict.fromkeys(name for e in found for name in e.sources))
    head = ["value", "default", "mIoU, points", "sure", *sources, "time", "memory"]
    rows = [
        [
            f"{escape(e.factor)}: {escape(e.value)}",
            escape(e.default),
            interval(e.miou),
            "yes" if e.sure else "",
            *(points(e.sources.get(name), True) for name in sources),
            f"x {e.time:.2f}",
            f"x {e.memory:.2f}",
        ]
        for e in found
    ]
    return _table([escape(h) for h in head], rows)


def _trials(found: Findings) -> str:
    rows: list[list[str]] = []
    for r in found.rows:
        ms = r.details.get("even_ms")
        time, memory = ("-" if v is None else f"{v:.1f}" for v in (ms, r.megabytes))
        values = ", ".join(f"{n} {v}" for n, v in r.values.items())
        rows.append([f"{escape(r.part)} {r.index}", r.state, points(r.miou), time, memory, escape(r.reason or values)])
    return _fold("All trials (as in trials.csv)", _table(["trial", "state", "mIoU %", "ms", "MB", "values"], rows))


def _range(found: Interval) -> str:
    return f"{100 * found.low:.2f} .. {100 * found.high:.2f}"


def _picture(title: str, note: str, path: Path | None) -> str:
    if path is None:
        return ""
    source = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<section><h3>{escape(title)}</h3><p class="soft">{escape(note)}</p>'
        f'<div class="graph"><img src="data:image/png;base64,{source}" alt="{escape(title, quote=True)}"></div>'
        "</section>"
    )


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="card wide"><table>{"".join(lines)}</table></div>'
