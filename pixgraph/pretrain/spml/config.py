"""Settings of a training by SPML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import OptimConfig, check_pair
from pixgraph.pretrain.labelled_views import LabelledViewConfig


@dataclass
class MarksConfig:
    """What is annotated of the training pictures.

    Attributes:
        folder: Annotations as files, as `pixgraph data annotate` writes them; none: made from the masks.
        num_pictures: Pictures that are used, chosen so that classes are balanced; none: all.
        num_points: Points of each class in a picture.
        width: Width of a scribble in pixels.
        thicken: Pixels by which points and scribbles grow before anything else; SPML takes 6 and 3.
        seed: Seed of the choice and of the marks; a run with another `seed` can so learn from the same ones.
    """

    folder: str | None = None
    num_pictures: int | None = None
    num_points: int = 1
    width: int = 3
    thicken: float = 3.0
    seed: int = 0


@dataclass
class SegmentConfig:
    """Segments, contrasts and classifier.

    Attributes:
        grid: Rows and columns of clusters in a view.
        iterations: Of k-means.
        regions: Low-level regions of the picture, from scikit-image: "slic", "felzenszwalb", or "none". They stand for
            the edges of HED-OWT-UCM, which SPML itself uses.
        num_regions: About how many of them a picture has.
        bank: Batches whose segments are remembered.
        bank_segments: Most segments that are remembered of a batch.
        hidden: Channels inside the classifier.
        dropout: Inside the classifier.
        detach: Whether the classifier sees embeddings without gradient, as in SPML: the contrasts alone form them.
            Without contrasts it never does.
        propagate: Cosine, with location, from which an unlabelled segment has the label of the nearest labelled one of
            its picture for the classifier; 1: the classifier learns from the marks alone, as the contrasts always do.
        final_steps: Steps in which a new classifier is trained in the end, on the embedding that no longer moves, with
            labels that retrieval gives to the training pictures; 0: the one trained beside stays, as without contrasts.
        final_dropout: Inside that classifier.
        sem_ann: Weight of the contrast by annotation; none: the published one, see `relations`.
        sem_occ: Weight of the contrast by co-occurrence of tags. Where every picture shows one class it pulls the class
            and what lies around it together: take 0.
        img_sim: Weight of the contrast by low-level regions.
        feat_aff: Weight of the contrast by affinity of features.
        k_sem_ann: Concentration of the contrast by annotation; none: the published one.
        k_sem_occ: Concentration of the contrast by co-occurrence of tags.
        k_img_sim: Concentration of the contrast by low-level regions.
        k_feat_aff: Concentration of the contrast by affinity of features.
    """

    grid: list[int] = field(default_factory=lambda: [6, 6])
    iterations: int = 10
    regions: Literal["slic", "felzenszwalb", "none"] = "slic"
    num_regions: int = 60
    bank: int = 2
    bank_segments: int = 2048
    hidden: int = 128
    dropout: float = 0.75
    detach: bool = True
    propagate: float = 1.0
    final_steps: int = 300
    final_dropout: float = 0.65
    sem_ann: float | None = None
    sem_occ: float | None = None
    img_sim: float | None = None
    feat_aff: float | None = None
    k_sem_ann: float | None = None
    k_sem_occ: float | None = None
    k_img_sim: float | None = None
    k_feat_aff: float | None = None

    def weights(self) -> dict[str, float | None]:
        """Weights by relation."""
        return {name: getattr(self, name) for name in ("sem_ann", "sem_occ", "img_sim", "feat_aff")}

    def concentrations(self) -> dict[str, float | None]:
        """Concentrations by relation."""
        return {name: getattr(self, f"k_{name}") for name in ("sem_ann", "sem_occ", "img_sim", "feat_aff")}


def _optim() -> OptimConfig:
    """Short trainings; SPML itself takes SGD for 30000 steps, with the same schedule and scale of the heads."""
    return OptimConfig(steps=1000, batch=8, lr=2e-4, schedule="poly", val_every=500)


@dataclass
class SPMLConfig:
    """Train pixel embeddings, and a classifier on them, from points, scribbles, boxes, tags or masks (SPML).

    Attributes:
        data: NAME:FOLDER of a data set with a mask a picture, such as camvid:DIR, or a folder of pictures and masks.
        train_split: Split that is trained on.
        val_split: Split that is validated on.
        holdout: Share of the training pictures that are scored instead of `val_split`, and not trained on; for data
            sets whose splits have different classes. 0: none.
        val_pictures: Scored pictures, evenly spaced; none: all.
        annotation: What the training is told of each picture.
        marks: Where that comes from.
        network: "deeplabv3plus:ENCODER" or "unet:ENCODER" with an encoder of segmentation_models_pytorch, "unet" or
            "unet-small".
        weights: Where it starts: "random", "imagenet" (the encoder), or a file of weights or a run's folder.
        embedding: Channels of the embedding.
        relations: Row of the table of published weights and concentrations; "auto": that of the annotation; "none": no
            contrasts, the classifier alone trains the network.
        spml: Segments, contrasts and classifier.
        views: The crops.
        optim: The optimisation.
        head_scale: Factor of the learning rate of all that is not the encoder.
        seed: Seed of everything random.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs: Folder that holds the run folders.
        run: Name of the run's folder; made from the method and the time when not given.
    """

    standalone: ClassVar[bool] = True  # its files are not those of `pixgraph.config.Config`

    data: str = ""
    train_split: str = "train"
    val_split: str = "val"
    holdout: float = 0.0
    val_pictures: int | None = None
    annotation: Literal["masks", "points", "scribbles", "boxes", "tags"] = "points"
    marks: MarksConfig = field(default_factory=MarksConfig)
    network: str = "deeplabv3plus:mobilenet_v2"
    weights: str = "imagenet"
    embedding: int = 64
    relations: Literal["auto", "none", "masks", "points", "scribbles", "boxes", "tags", "landmarks"] = "auto"
    spml: SegmentConfig = field(default_factory=SegmentConfig)
    views: LabelledViewConfig = field(default_factory=LabelledViewConfig)
    optim: OptimConfig = field(default_factory=_optim)
    head_scale: float = 10.0
    seed: int = 0
    device: str = "auto"
    runs: str = "runs"
    run: str | None = None


def check_spml(config: SPMLConfig) -> SPMLConfig:
    """Return `config` when its settings do not contradict each other.

    Raises:
        ConfigError: They do.
    """
    if not config.data:
        raise ConfigError("data: got nothing, expected --data NAME:FOLDER, such as camvid:DIR")
    if len(config.spml.grid) != 2:
        raise ConfigError(f"spml.grid: got {config.spml.grid}, expected two numbers, rows and columns; give two")
    check_pair("views.scale", config.views.scale, "the smallest and the largest factor")
    if config.spml.regions == "none" and config.spml.img_sim:
        raise ConfigError(
            f"spml.img_sim: got {config.spml.img_sim:g} with spml.regions none, expected 0, or regions to contrast"
        )
    return config
