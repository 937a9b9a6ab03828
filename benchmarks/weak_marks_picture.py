"""The picture beside the table of `weak_marks`: marks on supports, what becomes of them, and the answers to a query."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from workbench import open_split

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.data.picture import FewShotTask
    from pixgraph.models.predictor import Predictor
    from pixgraph.report.tiles import Tile

SIDE = 150
"""Side of a small picture in pixels."""

RADIUS = 3.0
"""Radius of a shown mark, in pixels of the working size."""


def draw(args: argparse.Namespace, store: FeatureStore, predictor: Predictor, kinds: list[str], path: Path) -> Path:
    """Draw some episodes, a row each, and write them as PNG.

    Args:
        args: The script's arguments; `pictures` says how many.
        store: Features.
        predictor: Gives the answers.
        kinds: Kinds of marks, a group of columns each.
        path: Where to.
    """
    from PIL import Image

    from pixgraph.data.protocols import get_protocol
    from pixgraph.data.support_marks import SupportMarks
    from pixgraph.data.tasks import load_task
    from pixgraph.report.tiles import panel_figure

    dataset, protocol = open_split(args, args.split), get_protocol(args.protocol)
    episodes = replace(protocol, episodes=args.pictures).episode_list(
        dataset, args.n_way, args.k_shot, protocol.seeds[0]
    )
    rows = []
    for episode in episodes:
        tiles = _whole(load_task(dataset, episode, store), predictor)
        for kind in kinds:
            marked = load_task(dataset, episode, store, marks=SupportMarks(kind, args.num_points))
            tiles += _marked(marked, predictor, kind)
        rows.append(panel_figure(tiles))
    canvas = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        canvas.paste(row, (0, top))
        top += row.height
    canvas.save(path)
    return path


def _whole(task: FewShotTask, predictor: Predictor) -> list[Tile]:
    query = task.query[0]
    assert query.label is not None
    return [
        _tile("support, mask", task.support[0].rgb, task.support[0].label),
        _tile("query, truth", query.rgb, query.label),
        _tile("answer, mask", query.rgb, predictor.predict(task)[0].argmax(0)),
    ]


def _marked(task: FewShotTask, predictor: Predictor, kind: str) -> list[Tile]:
    from pixgraph.data.marks import thicken
    from pixgraph.models.completion import complete_task

    support, query = task.support[0], task.query[0]
    assert support.label is not None
    marks = thicken(support.label.cpu().numpy().astype(np.uint8), RADIUS)
    return [
        _tile(kind, support.rgb, marks),
        _tile("completed", support.rgb, complete_task(task).support[0].label),
        _tile("answer", query.rgb, predictor.predict(task)[0].argmax(0)),
    ]


def _tile(caption: str, rgb: Any, mask: Any) -> Tile:
    from pixgraph.report.tiles import Tile, shrink, tint

    photo = (255 * rgb.permute(1, 2, 0)).round().byte().cpu().numpy()
    return Tile(caption, tint(*shrink(photo, np.asarray(mask), SIDE)))
