"""The parts of a run's page, each from the JSON that the run wrote; a part whose data is missing is empty text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pixgraph.report.charts import Series, line_chart
from pixgraph.report.tiles import FALSE_ALARM, HIT, MISS, WRONG_WAY

_NOT_LOSSES = {"kind", "step", "seconds", "loss", "lr", "grad_norm"}
_LEVELS = {"_chance": "chance", "_best": "best", "_healthy": "healthy"}
"""Ends of the names of levels that a number is compared with."""


def number(value: float | None, deviation: float | None = None) -> str:
    """A fraction as percent with two decimals, and its deviation; a dash when undefined.

    The full value stands in ``data-value``, so that nothing is lost by rounding.
    """
    if value is None:
        return "-"
    spread = "" if deviation is None else f" <small>± {100 * deviation:.2f}</small>"
    return f'<span data-value="{value!r}">{100 * value:.2f}</span>{spread}'


def best_baseline(evaluation: Mapping[str, Any]) -> str | None:
    """The method with the highest mIoU besides the main one."""
    others = {n: m["miou"] for n, m in evaluation["methods"].items() if n != evaluation["main"]}
    defined = {n: v for n, v in others.items() if v is not None}
    return max(defined, key=lambda n: defined[n], default=None)


def headline(evaluation: Mapping[str, Any]) -> str:
    """The numbers that a reader looks for first."""
    main, other = evaluation["main"], best_baseline(evaluation)
    methods = evaluation["methods"]
    facts = [(number(methods[main]["miou"]), f"mIoU % of {escape(main)}, {_setting(evaluation)}")]
    if other is not None and methods[main]["miou"] is not None:
        gain = 100 * (methods[main]["miou"] - methods[other]["miou"])
        word = "good" if gain > 0 else "bad"
        facts.append((f'<span class="{word}">{gain:+.2f}</span>', f"points against the best other, {escape(other)}"))
    facts.append((f"{methods[main]['ms_per_query']:.1f}", "ms a query, features given"))
    cards = "".join(f'<div class="card"><b>{value}</b><span class="soft">{text}</span></div>' for value, text in facts)
    return f'<div class="facts">{cards}</div>'


def _setting(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['n_way']}-way {evaluation['k_shot']}-shot"


def scores(label: str, evaluation: Mapping[str, Any]) -> str:
    """One evaluation: the table of methods, the bars of the classes, and what the numbers depend on."""
    backbone = evaluation["backbone"]
    seeds = evaluation["seeds"]
    partial = "" if evaluation["full_protocol"] else " <b>(not the whole protocol)</b>"
    plural = "" if len(seeds) == 1 else "s"
    hashes = ", ".join(evaluation["episode_hash"].values())
    about = (
        f"{escape(evaluation['dataset'])}, {escape(evaluation['split'])} classes · "
        f"{escape(evaluation['protocol'])}{partial}: {evaluation['episodes']} episodes x {len(seeds)} seed{plural} · "
        f"{escape(backbone['name'])} ({escape(backbone['pretrained_on'])}) at {backbone['size']} px"
    )
    return (
        f'<section id="{escape(label, quote=True)}"><h2>{_setting(evaluation)} on {escape(evaluation["split"])}</h2>'
        f'<p class="soft">{about}</p>{_verdict(evaluation)}{_table(evaluation)}{_class_bars(evaluation)}'
        f'<p class="note">mIoU: {escape(evaluation["rule"])}. Spread: standard deviation over the seeds. '
        "FB-IoU is high for a method that predicts nothing: compare with all-background. "
        f"Episode lists {escape(hashes)}; {evaluation['episodes_per_second']:g} episodes/s, "
        f"peak memory {evaluation['peak_memory_mb']:g} MB.</p></section>"
    )


def _verdict(evaluation: Mapping[str, Any]) -> str:
    """One sentence on whether the main method is worth its cost."""
    main, other = evaluation["main"], best_baseline(evaluation)
    if other is None or evaluation["methods"][main]["miou"] is None:
        return ""
    gain = evaluation["methods"][main]["miou"] - evaluation["methods"][other]["miou"]
    if gain > 0:
        return ""
    return f'<p class="bad"><b>{escape(main)} does not beat {escape(other)} here.</b></p>'


def _table(evaluation: Mapping[str, Any]) -> str:
    rows = [
        '<tr><th>method</th><th>mIoU %</th><th>FB-IoU %</th><th class="hide-narrow">ms/query</th></tr>',
    ]
    for name, method in evaluation["methods"].items():
        mark = ' class="main"' if name == evaluation["main"] else ""
        rows.append(
            f"<tr{mark}><td>{escape(name)}</td><td>{number(method['miou'], method['miou_sd'])}</td>"
            f"<td>{number(method['fb_iou'], method['fb_iou_sd'])}</td>"
            f'<td class="hide-narrow">{method["ms_per_query"]:.1f}</td></tr>'
        )
    return f'<div class="card wide"><table>{"".join(rows)}</table></div>'


def _class_bars(evaluation: Mapping[str, Any], most: int = 40) -> str:
    """A bar a class for the main method, best first, with a tick where the best other method is."""
    main, other = evaluation["main"], best_baseline(evaluation)
    values = evaluation["methods"][main]["per_class"]
    beside = evaluation["methods"][other]["per_class"] if other else {}
    order = sorted(values, key=lambda name: -1.0 if values[name] is None else values[name], reverse=True)
    cells = []
    for name in order[:most]:
        value, level = values[name] or 0.0, beside.get(name)
        tick = "" if level is None else f'<u style="left:{100 * level:.2f}%"></u>'
        cells.append(
            f'<span class="name">{escape(name)}</span><span class="bar"><i style="width:{100 * value:.2f}%"></i>{tick}'
            f'</span><span class="number">{number(values[name])}</span>'
        )
    if not cells:
        return ""
    rest = f" ({most} of {len(order)} classes)" if len(order) > most else ""
    legend = f"bar: {escape(main)}" + (f", tick: {escape(other)}" if other else "")
    bars = f'<p class="soft">{legend}</p><div class="bars">{"".join(cells)}</div>'
    return f'<h3>IoU % by class{rest}</h3><div class="card">{bars}</div>'


def curves(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Loss and validation over the steps, then every other logged number, with its chance level where one is logged."""
    train = [line for line in metrics if line["kind"] == "train"]
    val = [line for line in metrics if line["kind"] == "val"]
    charts = [
        line_chart("Training loss", [Series("loss", _points(train, "loss"))]),
        line_chart(
            "Validation",
            [Series("mIoU", _points(val, "miou"), "s2"), Series("FB-IoU", _points(val, "fb_iou"), "s3")],
            percent=True,
        ),
    ]
    keys = sorted({key for line in train for key in line} - _NOT_LOSSES)
    for key in (k for k in keys if not k.endswith(tuple(_LEVELS))):
        levels = [Series(word, _points(train, key + end), "reference") for end, word in _LEVELS.items()]
        charts.append(line_chart(key.replace("_", " "), [*levels, Series(key, _points(train, key))]))
    charts.append(line_chart("Learning rate", [Series("lr", _points(train, "lr"), "s4")]))
    drawn = "".join(charts)
    return f'<section id="curves"><h2>Training</h2><div class="charts">{drawn}</div></section>' if drawn else ""


def _points(lines: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    values = [(line["step"], line.get(key)) for line in lines]
    return [(float(s), float(v)) for s, v in values if isinstance(v, (int, float)) and math.isfinite(v)]


def panels(label: str, content: Mapping[str, Any]) -> str:
    """Rows of small pictures with captions, such as episodes, a table, and large pictures.

    Args:
        label: What is shown, where the content has no title of its own.
        content: What `pixgraph.report.panels.save_panels` or `pixgraph.report.sheets.save_sheets` wrote.
    """
    rows = "".join(_row(panel) for panel in content["panels"])
    table = _plain_table(content.get("table") or [])
    sheets = [*content.get("sheets", [])]
    if content.get("graph"):
        sheets.append({"caption": "The graph over an episode", "image": content["graph"]})
    large = "".join(
        f'<h3>{escape(sheet["caption"])}</h3><div class="graph">'
        f'<img src="{escape(sheet["image"], quote=True)}" alt="{escape(sheet["caption"], quote=True)}"></div>'
        for sheet in sheets
    )
    if not (rows or table or large):
        return ""
    title, legend = content.get("title"), ""
    if not title:
        title, legend = f"Episodes: {label}", _error_legend() if rows else ""
    return f"<section><h2>{escape(title)}</h2>{legend}{table}{rows}{large}</section>"


def _row(panel: Mapping[str, Any]) -> str:
    """One card: a title, a caption and its pictures."""
    tiles = "".join(
        f'<figure><img src="{escape(tile["image"], quote=True)}" alt="{escape(tile["caption"], quote=True)}">'
        f"<figcaption>{escape(tile['caption'])}</figcaption></figure>"
        for tile in panel["tiles"]
    )
    return (
        f'<div class="card"><b>{escape(panel["title"])}</b><br><span class="soft">{escape(panel["caption"])}</span>'
        f'<div class="tiles">{tiles}</div></div>'
    )


def _error_legend() -> str:
    swatches = "".join(
        f'<span class="swatch" style="background:rgb{colour}"></span>{word}'
        for colour, word in ((HIT, "hit"), (FALSE_ALARM, "false alarm"), (MISS, "miss"), (WRONG_WAY, "wrong class"))
    )
    return f'<p class="soft">errors:{swatches}</p>'


def _plain_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of texts, the first row its head; empty text without rows."""
    if not rows:
        return ""
    lines = [
        "".join(f"<{kind}>{escape(str(cell))}</{kind}>" for cell in row)
        for kind, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True)
    ]
    body = "".join(f"<tr>{cells}</tr>" for cells in lines)
    return f'<div class="card wide"><table>{body}</table></div>'


def folded(title: str, content: Any) -> str:
    """Something long, folded away: text as it is, anything else as indented JSON."""
    if not content:
        return ""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
