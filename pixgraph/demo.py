"""All of pixgraph in a few minutes, on data that comes with its dependencies: train, evaluate, segment, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pixgraph.config import (
    BackboneConfig,
    Config,
    EpisodeConfig,
    GraphConfig,
    LossConfig,
    ModelConfig,
    SourceConfig,
    TrainConfig,
)
from pixgraph.demo_photo import COINS, PhotoResult, photo_tiles, segment_photo, write_photo
from pixgraph.errors import RunError
from pixgraph.run_scores import EvaluateOptions, keep, score
from pixgraph.segmenter import FewShotSegmenter

MARKER = "made-by-pixgraph-demo"
PHOTO = "photograph.png"


def demo_config(steps: int, seed: int = 0, device: str = "auto", runs: str = "runs", run: str = "demo") -> Config:
    """The demo's settings: generated episodes, the built-in filter bank, a small graph."""
    return Config(
        data=SourceConfig("synthetic"),
        episodes=EpisodeConfig(k_shot=2),
        backbone=BackboneConfig("filters", size=128),
        graph=GraphConfig(dilations=[1, 2]),
        # Small, fast to learn: 800 episodes are few, the pictures are 16 x 16 nodes, and filters know no objects that a
        # pyramid could see on their coarse levels.
        model=ModelConfig(width=32, decoder_blocks=2, pyramid=0, input_dropout=0.0),
        loss=LossConfig(supcon=0.0),
        train=TrainConfig(
            steps=steps,
            batch=4,
            lr=5e-3,
            warmup=max(1, min(30, steps // 10)),
            ema=0.98,
            val_every=max(1, steps // 5),
            val_episodes=40,
            save_every=max(1, steps // 5),
            augment=0,
        ),
        seed=seed,
        device=device,
        runs=runs,
        run=run,
    )


def run_demo(config: Config, episodes: int = 60, seeds: int = 2, say: Callable[[str], None] = lambda _: None) -> Path:
    """Train, score on classes never seen, segment a photograph from a few marks, and write the report.

    Args:
        config: Settings, as `demo_config` makes them.
        episodes: Test episodes a seed.
        seeds: Seeds of the test episodes.
        say: Takes what the user should read, such as `print`.

    Returns:
        The run's folder.

    Raises:
        RunError: The folder holds something that no demo made.
    """
    from pixgraph.evaluation.table import result_table
    from pixgraph.training.loop import train

    start = time.perf_counter()
    folder = clear_folder(config)
    say("== 1/3 training the GNN on generated pictures, to find in one what is marked in others")
    train(config)
    say("\n== 2/3 scoring it on classes that it has never seen, beside the trivial baselines")
    options = evaluation_options(config, folder, episodes, seeds)
    scored = score(options)
    say(result_table(scored.evaluation))
    say("\n== 3/3 a real photograph: three coins are marked by hand; where are the others?")
    for name, result in photograph(folder, config).items():
        say(f"{name}: {result.found} of {len(COINS)} coins found, {result.stray:.1%} of the rest taken for coins")
    keep(options, scored)
    say(f"\ndone in {time.perf_counter() - start:.0f} s; look at {folder / 'index.html'} and {folder / PHOTO}")
    return folder


def clear_folder(config: Config) -> Path:
    """Make room for the demo: an earlier demo is removed, anything else is left alone.

    Raises:
        RunError: The folder holds something that no demo made.
    """
    import shutil

    folder = Path(config.runs) / str(config.run)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise RunError(f"{folder} exists and was not made by the demo; give another folder with --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def evaluation_options(config: Config, folder: Path, episodes: int, seeds: int) -> EvaluateOptions:
    """How the demo's network is scored: unseen classes, the run's own settings, fewer episodes than a protocol has."""
    return EvaluateOptions(
        run=str(folder),
        data=config.data,
        backbone=config.backbone,
        graph=config.graph,
        k_shot=config.episodes.k_shot,
        episodes=episodes,
        seeds=seeds,
        seed=config.seed,
        device=config.device,
        runs=config.runs,
    )


def photograph(folder: Path, config: Config) -> dict[str, PhotoResult]:
    """Segment the photograph by the trained and the training-free graph, and keep both for the report."""
    from pixgraph.report.panels import Panel
    from pixgraph.report.sheets import save_sheets

    # Coins are small: more pixels than the training had; the network does not mind.
    backbone = replace(config.backbone, size=384)
    device, seed = config.device, config.seed
    segmenters = {
        "trained GNN": FewShotSegmenter(
            "graph", backbone, graph=config.graph, checkpoint=folder, device=device, seed=seed
        ),
        "training-free graph": FewShotSegmenter("propagate", backbone, graph=config.graph, device=device, seed=seed),
    }
    results = {name: segment_photo(segmenter) for name, segmenter in segmenters.items()}
    tiles = photo_tiles(results)
    write_photo(tiles, folder / PHOTO)
    coins = Panel("coins", "three were marked by hand; where are the others?", tiles)
    save_sheets(folder, "photograph", "A real photograph", panels=[coins])
    return results
