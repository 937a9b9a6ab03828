"""Runs the probes that were asked for and writes what they found into a folder, with its page."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.data.catalog import open_dataset
from pixgraph.errors import DataError, RunError
from pixgraph.evaluation.evaluate import describe_backbone
from pixgraph.probe.config import ACTIONS, ProbeConfig, check_probe, chosen_levels
from pixgraph.probe.few_shot import few_shot
from pixgraph.probe.gallery import Gallery
from pixgraph.probe.linear_run import linear_probe
from pixgraph.probe.page import write_page
from pixgraph.probe.pictures import color_sheet, retrieval_sheet, similarity_sheet, spread_out
from pixgraph.probe.results import open_results, write_results
from pixgraph.probe.retrieval import draw_queries, hit_rates, search
from pixgraph.training.atomic import write_atomic
from pixgraph.training.device import resolve_device

if TYPE_CHECKING:
    from PIL import Image

Say = Callable[[str], None]


def run_probe(config: ProbeConfig, action: str, say: Say = print) -> Path:
    """Run one probe, or all.

    Args:
        config: What to probe, on which data.
        action: One of `ACTIONS`.
        say: Gets a line about each result.

    Returns:
        The page.

    Raises:
        PixgraphError: A setting, the data, the weights or the folder is wrong.
    """
    check_probe(config)
    store = open_embedding(config)
    levels = chosen_levels(config.levels, len(store.backbone.channels))
    results = open_results(config.out, {**describe_backbone(store), "levels": config.levels})
    out = Path(config.out)
    wanted = list(ACTIONS[:-1]) if action == "all" else [action]
    gallery: Gallery | None = None
    for name in wanted:
        if name == "linear":
            results["linear"] = linear_probe(config, store, levels)
            say(_linear_line(results["linear"]))
        elif name == "few-shot":
            results["few_shot"] = few_shot(config.few_shot, config.data, config.graph, store, config.seed).to_dict()
            say(_few_shot_line(results["few_shot"]))
        else:
            gallery = gallery or open_gallery(config, store, levels)
            if name == "retrieval":
                results["retrieval"] = {kind: _retrieval(config, gallery, kind, say) for kind in ("pixels", "segments")}
            else:
                _draw(config, gallery)
        write_results(out, results)
    return write_page(out)


def open_embedding(config: ProbeConfig) -> FeatureStore:
    """The backbone's features; random weights depend on `config.seed` alone.

    Raises:
        ConfigError: The backbone is unknown, or no GPU is named that there is.
        CheckpointError: Its weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = build_backbone(config.backbone)
    return FeatureStore(backbone, config.backbone.size, config.backbone.cache, resolve_device(config.device))


def open_gallery(config: ProbeConfig, store: FeatureStore, levels: Sequence[int]) -> Gallery:
    """The pictures that are searched and drawn, their features computed."""
    names = dict.fromkeys([*_searched(config), config.split])
    datasets = [open_dataset(config.data, name) for name in names]
    for dataset in datasets:
        store.warm(dataset, progress=sys.stderr.isatty())
    return Gallery(datasets, store, levels)


def _retrieval(config: ProbeConfig, gallery: Gallery, kind: str, say: Say) -> dict[str, Any]:
    """Hit rates by class beside chance, and a sheet of queries with their answers."""
    units_of = gallery.units(kind, config.retrieval)
    queries = draw_queries(units_of, gallery.numbers(config.split), config.retrieval.queries, config.seed)
    if not queries:
        raise DataError(f"{config.data.name} ({config.split}): no {kind} of one class to ask with; take another split")
    searched = [number for split in _searched(config) for number in gallery.numbers(split)]
    apart = config.retrieval.apart
    hits = search(units_of, queries, searched, config.retrieval.top, order=gallery.order, apart=apart)
    rates = hit_rates(queries, hits)
    shown = spread_out(range(len(queries)), config.retrieval.shown)
    _save(config, f"retrieval-{kind}.jpg", retrieval_sheet(gallery, units_of, queries, hits, shown))
    classes = {
        gallery.class_names[c]: {"hit_rate": rate, "queries": count, "chance": hits.chance(c)}
        for c, (rate, count) in sorted(rates.items())
    }
    mean = sum(found["hit_rate"] for found in classes.values()) / len(classes) if classes else None
    chance = sum(found["chance"] for found in classes.values()) / len(classes) if classes else None
    if mean is not None and chance is not None:
        say(f"retrieval of {kind}: hit rate {100 * mean:.2f} %, chance {100 * chance:.2f} % (means over classes)")
    return {
        "data": config.data.name,
        "splits": _searched(config),
        "split": config.split,
        "pictures": len(searched),
        "queries": len(queries),
        "top": config.retrieval.top,
        "apart": apart,
        "hit_rate": mean,
        "chance": chance,
        "classes": classes,
    }


def _searched(config: ProbeConfig) -> list[str]:
    """Splits that retrieval searches: of a folder as a whole, its parts would show every picture twice."""
    return ["all"] if config.split == "all" else list(dict.fromkeys(config.retrieval.splits))


def _draw(config: ProbeConfig, gallery: Gallery) -> None:
    numbers = spread_out(gallery.numbers(config.split), config.pictures)
    _save(config, "colors.jpg", color_sheet(gallery, numbers))
    _save(config, "similarity.jpg", similarity_sheet(gallery, numbers))


def _save(config: ProbeConfig, name: str, image: Image.Image) -> None:
    path = Path(config.out) / name
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; free space or change permissions") from error


def _linear_line(found: dict[str, Any]) -> str:
    spread = "" if found["miou_sd"] is None else f" ± {100 * found['miou_sd']:.2f}"
    return (
        f"linear probe, {found['data']}/{found['split']}: mIoU {100 * found['miou']:.2f}{spread} %, pixel accuracy "
        f"{100 * found['pixel_accuracy']:.2f} % (commonest class everywhere: {100 * found['trivial']['miou']:.2f} %, "
        f"{100 * found['trivial']['pixel_accuracy']:.2f} %)"
    )


def _few_shot_line(found: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {100 * (m['miou'] or 0):.2f}" for name, m in found["methods"].items())
    return f"few-shot, {found['dataset']}/{found['split']}, {found['k_shot']}-shot: mIoU % {scores}"
