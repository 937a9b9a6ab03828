"""Settings of ReCo's training, and the names that the seed's command gave to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import OptimConfig, check_pair
from pixgraph.pretrain.labelled_views import LabelledViewConfig


@dataclass
class BudgetConfig:
    """What of the labels may be used.

    Attributes:
        num_labeled: Pictures that keep their labels, chosen so that classes are balanced; none: all, or `fraction`.
        fraction: Share of the pictures that keep their labels, instead of `num_labeled`.
        min_classes: Classes that a chosen picture shows at least, where there are such pictures; none: by data set.
        ratio: What of a label is kept: "p0" one pixel a class, "p1", "p5" and "p25" that percentage of a class in one
            piece; none: all.
        seed: Seed of both choices; none: the run's seed.
    """

    num_labeled: int | None = None
    fraction: float | None = None
    min_classes: int | None = None
    ratio: Literal["p0", "p1", "p5", "p25"] | None = None
    seed: int | None = None


@dataclass
class TeacherConfig:
    """The mean teacher.

    Attributes:
        decay: d; after step s (from 0) the teacher keeps min(1 - 1 / (s + 1), d) of its weights.
        mode: Whether it uses the statistics of its batch ("train", the authors' choice) or running ones ("eval") when
            it labels pictures; it always uses running ones when it is scored.
        buffers: Whether its running statistics follow the student's as its weights do. False: they are its own, from
            the pictures that it labels, which needs mode "train". None: false where that is possible.
    """

    decay: float = 0.99
    mode: Literal["train", "eval"] = "train"
    buffers: bool | None = None


@dataclass
class PseudoConfig:
    """Learning from the teacher's labels.

    Attributes:
        weight: Weight of the loss on pseudo labels.
        conf_thresh: A picture's loss is multiplied by the share of its pixels with a pseudo label that are at least so
            confident.
        pixel_threshold: Pixels that are less confident have no pseudo label; 0: all have one, the authors' choice, with
            which classes that are rare in the labelled pictures can die out in a short training.
        weak_threshold: Pixels that are at least so confident take part in the contrast.
    """

    weight: float = 1.0
    conf_thresh: float = 0.97
    pixel_threshold: float = 0.0
    weak_threshold: float = 0.7


@dataclass
class ContrastConfig:
    """The regional contrast.

    Attributes:
        weight: Weight of the loss.
        temperature: Of the relation between classes and of the contrast.
        num_queries: Pixels drawn of each class.
        num_negatives: Pixels of other classes that each of them is compared with.
        threshold: A pixel is drawn only where its own class is less likely than this.
    """

    weight: float = 1.0
    temperature: float = 0.5
    num_queries: int = 256
    num_negatives: int = 512
    threshold: float = 0.97


def _optim() -> OptimConfig:
    """The authors' optimisation, SGD and a poly schedule, but without Nesterov's step."""
    return OptimConfig(
        steps=40000,
        batch=10,
        optimizer="sgd",
        lr=2.5e-3,
        weight_decay=5e-4,
        warmup=0,
        schedule="poly",
        clip=0.0,
        val_every=2000,
        save_every=2000,
        log_every=50,
    )


@dataclass
class RecoConfig:
    """Train a network to segment from a few labels, with a mean teacher's pseudo labels and regional contrast (ReCo).

    Four trainings in one: from whole or from partial labels (`labels.ratio`), supervised alone (`mixing` none) or with
    pseudo labels. Flags of other implementations are understood too: --num-labeled, --label-ratio, --mixing-strategy,
    --reco-weight, --iterations and so on.

    Attributes:
        data: NAME:FOLDER of a data set with a mask a picture, such as camvid:DIR, or a folder of pictures and masks.
        val_split: Split that is validated on.
        val_pictures: Pictures of it, evenly spaced; none: all.
        labels: The budget of labels.
        network: "deeplabv3plus:ENCODER" or "unet:ENCODER" with an encoder of segmentation_models_pytorch, "unet" or
            "unet-small".
        weights: Where it starts: "random", "imagenet" (the encoder), or a file of weights or a run's folder.
        embedding: Channels of the representation head.
        views: The crops; `views.short_side` holds for validation, too.
        mixing: How pictures with pseudo labels are mixed: "cutout", "cutmix" or "classmix"; "none": no pseudo labels.
        reco: Whether pixels are contrasted.
        contrast: The contrast.
        pseudo: The pseudo labels.
        teacher: The teacher, which is what is scored and kept.
        optim: The optimisation; `batch` labelled pictures a step, and as many without where there are pseudo labels.
        cache_mb: Memory for decoded pictures, in megabytes, in each process that decodes.
        seed: Seed of everything random.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs: Folder that holds the run folders.
        run: Name of the run's folder; made from the method and the time when not given.
    """

    standalone: ClassVar[bool] = True  # its files are not those of `pixgraph.config.Config`

    data: str = ""
    val_split: str = "val"
    val_pictures: int | None = None
    labels: BudgetConfig = field(default_factory=BudgetConfig)
    network: str = "deeplabv3plus:resnet101"
    weights: str = "imagenet"
    embedding: int = 256
    views: LabelledViewConfig = field(default_factory=LabelledViewConfig)
    mixing: Literal["none", "cutout", "cutmix", "classmix"] = "none"
    reco: bool = False
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    pseudo: PseudoConfig = field(default_factory=PseudoConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    optim: OptimConfig = field(default_factory=_optim)
    cache_mb: int = 1024
    seed: int = 0
    device: str = "auto"
    runs: str = "runs"
    run: str | None = None


ALIASES = {
    "--num-labeled": "--labels.num_labeled",
    "--label-ratio": "--labels.ratio",
    "--model": "--network",
    "--mixing-strategy": "--mixing",
    "--unsup-weight": "--pseudo.weight",
    "--conf-thresh": "--pseudo.conf_thresh",
    "--weak-threshold": "--pseudo.weak_threshold",
    "--reco-weight": "--contrast.weight",
    "--reco-temp": "--contrast.temperature",
    "--reco-num-queries": "--contrast.num_queries",
    "--reco-num-negatives": "--contrast.num_negatives",
    "--reco-threshold": "--contrast.threshold",
    "--ema-decay": "--teacher.decay",
    "--teacher-mode": "--teacher.mode",
    "--ema-buffers": "--teacher.buffers",
    "--iterations": "--optim.steps",
    "--batch-size": "--optim.batch",
    "--lr": "--optim.lr",
    "--weight-decay": "--optim.weight_decay",
    "--val-interval": "--optim.val_every",
    "--save-interval": "--optim.save_every",
    "--name": "--run",
}
"""Flags of the reproduction's command, and the settings that they mean."""


def check_reco(config: RecoConfig) -> RecoConfig:
    """Return `config` when its settings do not contradict each other.

    Raises:
        ConfigError: They do.
    """
    if not config.data:
        raise ConfigError("data: got nothing, expected --data NAME:FOLDER, such as camvid:DIR")
    if config.labels.num_labeled is not None and config.labels.fraction is not None:
        raise ConfigError(
            f"labels: got num_labeled {config.labels.num_labeled} and fraction {config.labels.fraction:g}, expected "
            "one of them; leave the other out"
        )
    check_pair("views.scale", config.views.scale, "the smallest and the largest factor")
    if config.teacher.buffers is False and not own_statistics(config):
        why = "mode eval" if config.teacher.mode == "eval" else "mixing none"
        raise ConfigError(
            f"teacher.buffers: got false with {why}: the teacher would be scored with the statistics that it started "
            "with; expected true"
        )
    return config


def own_statistics(config: RecoConfig) -> bool:
    """Whether the teacher sees pictures in training mode, and so has running statistics of its own."""
    return config.teacher.mode == "train" and config.mixing != "none"
