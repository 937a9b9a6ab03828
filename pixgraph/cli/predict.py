"""``pixgraph predict``: masks for a folder of pictures from a few labelled ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pixgraph.cli.options import command_settings, option_value, parse, run_settings
from pixgraph.config import BackboneConfig, GraphConfig
from pixgraph.errors import ConfigError

if TYPE_CHECKING:
    from pixgraph.segmenter import FewShotSegmenter


@dataclass
class PredictOptions:
    """Segment a folder of pictures from a folder of labelled ones.

    Attributes:
        support: Folder of labelled pictures: images/<class>/* with masks/<class>/*.png, or images/* with masks/*.png of
            class indices and classes.json; in place of masks or beside them, points, scribbles and boxes in
            marks/*.json, or marks/*.png (254: not marked).
        query: Folder of pictures to segment, or one picture.
        out: Folder for masks/*.png (class ids, each picture's own size) and predictions.json.
        checkpoint: Run folder or checkpoint file of a trained GNN.
        method: Training-free method when there is no checkpoint: propagate, prototype, knn or linear.
        probabilities: Also write probabilities/*.npy, float16 (N+1, H, W), background first.
        overlay: Also write overlays/*.jpg, the pictures with their masks laid over them.
        backbone: The frozen CNN; that of the run when there is a checkpoint.
        graph: Construction of the graph; that of the run when there is a checkpoint.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        seed: Seed of the node sampling.
        tile: Predict pictures larger than this many pixels a side in overlapping tiles of that side, each squashed to
            backbone.size in place of the whole picture; none: always whole.
        overlap: Pixels that neighbouring tiles share, at least; none: an eighth of the tile.
        tile_supports: What tiles are compared with: scaled, windows of the labelled pictures as large as a tile, or
            whole, the labelled pictures as they are, for those that show the objects at another scale.
        mirror: Take the mean with the answer to the mirrored pictures: a little better, twice the time.
    """

    support: str = ""
    query: str = ""
    out: str = ""
    checkpoint: str | None = None
    method: str | None = None
    probabilities: bool = False
    overlay: bool = False
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    device: str = "auto"
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    tile_supports: Literal["scaled", "whole"] = "scaled"
    mirror: bool = False


def run(argv: Sequence[str]) -> int:
    """Predict; exit code 1 when some pictures could not be read, and their names on stderr."""
    options = parse_predict(argv)
    from pixgraph.prediction import predict_folder, query_files, refuse_data_set
    from pixgraph.training.distributed import ProcessGroup

    query_files(Path(options.query), Path(options.out))  # a typing error shall not cost a minute of loading
    refuse_data_set(Path(options.out), Path(options.support))
    with ProcessGroup() as world:
        segmenter = fitted(options)
        results = predict_folder(
            segmenter, options.query, options.out, options.probabilities, options.overlay, world, progress=True
        )
    if not world.is_main:
        return 0
    failed = [r for r in results if r.error]
    for result in failed:
        print(f"pixgraph: skipped {' '.join(result.error.split())}", file=sys.stderr)
    print(f"{len(results) - len(failed)} of {len(results)} pictures segmented: {options.out}")
    return 1 if failed else 0


def parse_predict(argv: Sequence[str]) -> PredictOptions:
    """The checked options; a checkpoint's own settings are the defaults.

    Raises:
        ConfigError: An argument is wrong or missing, or both a checkpoint and a method are given.
        RunError: The run folder of the checkpoint has no settings.
    """
    base: dict[str, Any] = {}
    checkpoint = option_value(argv, "--checkpoint")
    if checkpoint:
        base = _checkpoint_settings(Path(checkpoint))
    options = parse(PredictOptions, "predict", argv, base)
    for name in ("support", "query", "out"):
        if not getattr(options, name):
            raise ConfigError(f"--{name}: missing; expected --support DIR --query DIR --out DIR")
    if options.checkpoint and options.method not in (None, "graph"):
        raise ConfigError(f"--method: got {options.method!r} beside --checkpoint; leave one of the two out")
    return options


def _checkpoint_settings(path: Path) -> dict[str, Any]:
    """The settings of a run folder, or those that any other checkpoint holds itself."""
    if not path.exists():
        return run_settings(path, PredictOptions)
    from pixgraph.training.checkpoint import find_checkpoint, load_trained

    state = load_trained(find_checkpoint(path))
    if (path / "config.yaml").is_file():
        return run_settings(path, PredictOptions)
    return command_settings(state["config"], PredictOptions)


def fitted(options: PredictOptions) -> FewShotSegmenter:
    """A segmenter that has seen the support folder."""
    from pixgraph.segmenter import FewShotSegmenter
    from pixgraph.support_folder import read_support_folder

    folder = read_support_folder(options.support)
    method = options.method or ("graph" if options.checkpoint else "propagate")
    segmenter = FewShotSegmenter(
        method,
        options.backbone,
        graph=options.graph,
        checkpoint=options.checkpoint,
        device=options.device,
        seed=options.seed,
        tile=options.tile,
        overlap=options.overlap,
        tile_supports=options.tile_supports,
        mirror=options.mirror,
    )
    return segmenter.fit_supports(folder.supports, folder.names)
