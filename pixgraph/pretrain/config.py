"""Settings of a pretraining, as dataclasses: the command line, YAML files and Python all fill the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pixgraph.errors import ConfigError


@dataclass
class ViewConfig:
    """The two augmented crops of a picture.

    Attributes:
        size: Side of a crop in pixels, after resizing.
        area: Smallest and largest share of the picture's area that a crop covers.
        aspect: Smallest and largest width / height of a crop in the picture.
        flip: Probability of a horizontal flip.
        jitter: Probability of colour jitter (brightness, contrast, saturation, hue by up to .4, .4, .2, .1).
        grayscale: Probability of grey.
        blur: Probability of Gaussian blur, sigma .1 .. 2 pixels, in the first and in the second view.
        solarize: Probability of solarising, in the first and in the second view.
    """

    size: int = 128
    area: list[float] = field(default_factory=lambda: [0.08, 1.0])
    aspect: list[float] = field(default_factory=lambda: [0.75, 1.3333])
    flip: float = 0.5
    jitter: float = 0.8
    grayscale: float = 0.2
    blur: list[float] = field(default_factory=lambda: [1.0, 0.1])
    solarize: list[float] = field(default_factory=lambda: [0.0, 0.2])


@dataclass
class PixelConfig:
    """The pixel-level method: PixPro, PixContrast, or PixPro at full resolution.

    Attributes:
        projection: Channels of the projected map that is compared.
        hidden: Channels inside the projection heads.
        ppm_layers: Layers that transform the values of the pixel propagation: 0, 1 or 2.
        ppm_gamma: Sharpness of its similarities.
        ppm_clamp: Similarities below it count as it.
        threshold: Two cells of the views are positive when their distance is below this many bin diagonals.
        pairs: "pixpro": the larger bin diagonal of the two views; "pixelcl": that of the whole picture.
        temperature: Temperature of PixContrast.
        instance_weight: Weight of the instance branch (BYOL's loss on pooled features); 0: none.
        momentum: Share of its own weights that the target keeps in a step.
        momentum_schedule: Whether that share stays, or rises to one by half a cosine.
        propagation: Reach of the propagation at full resolution: "cell" (fixed cells), "window" (centred), or "map".
        reach: Side of such a cell, or of a window (its next odd number), in pixels.
        num_pairs: Positive pairs drawn a picture at full resolution; a picture with fewer is skipped.
        intersect_limit: Pixels of the first view that are compared with the second; a picture whose views share fewer
            is skipped.
        bottleneck_weight: Weight of PixPro's loss on the UNet's coarsest map; 0: none.
    """

    projection: int = 256
    hidden: int = 2048
    ppm_layers: int = 1
    ppm_gamma: float = 2.0
    ppm_clamp: float = 0.0
    threshold: float = 0.7
    pairs: Literal["pixpro", "pixelcl"] = "pixpro"
    temperature: float = 0.3
    instance_weight: float = 0.0
    momentum: float = 0.99
    momentum_schedule: Literal["cosine", "constant"] = "cosine"
    propagation: Literal["cell", "window", "map"] = "cell"
    reach: int = 16
    num_pairs: int = 150
    intersect_limit: int = 60
    bottleneck_weight: float = 0.0


@dataclass
class OptimConfig:
    """The optimisation.

    Attributes:
        steps: Optimiser steps.
        batch: Pictures a step, over all processes and accumulated parts.
        accumulate: Parts into which a step's pictures are divided to save memory; batch statistics are those of a part.
        optimizer: "adamw", "sgd" (momentum .9), or "lars": SGD with a trust ratio a layer, from timm.
        lr: Peak learning rate.
        weight_decay: Weight decay; biases and norms have none.
        warmup: Steps of linear warm-up.
        schedule: How the rate falls to zero afterwards: by half a "cosine", or "poly": as (1 - share of steps done)^.9.
        clip: Largest gradient norm; 0: any.
        precision: "float32", or "bfloat16" or "float16" autocast.
        workers: Processes that decode and augment; 0: none beside the training.
        log_every: Steps between lines of metrics.jsonl.
        save_every: Steps between checkpoints.
        val_every: Steps between validations, of methods that have masks to validate on.
        tensorboard: Also write TensorBoard events.
    """

    steps: int = 2000
    batch: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    schedule: Literal["cosine", "poly"] = "cosine"
    clip: float = 1.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    workers: int = 0
    log_every: int = 10
    save_every: int = 200
    val_every: int = 200
    tensorboard: bool = False


@dataclass
class PretrainConfig:
    """Pretrain a CNN on pictures without labels, so that its feature maps serve as node embeddings.

    Attributes:
        method: "pixpro", "pixcontrast", or "pixpro_full": PixPro with one vector a pixel, on a UNet.
        data: Where the pictures are: folders, searched with their subfolders, or NAME:FOLDER for the training pictures
            of a data set of `pixgraph data list`.
        backbone: A torchvision CNN such as "mobilenet_v2"; with one vector a pixel "unet", "unet-small", or
            "unet:ENCODER" with any encoder of segmentation_models_pytorch.
        weights: Where it starts: "random", "imagenet", or a file of weights or a run's folder.
        layer: Layer of the CNN whose map is trained, by name; none: its last level, or the UNet's finest map.
        views: The two crops of a picture.
        pixel: The method's settings.
        optim: The optimisation.
        broken_limit: Share of unreadable pictures above which the training stops.
        seed: Seed of everything random.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs: Folder that holds the run folders.
        run: Name of the run's folder; made from the method and the time when not given.
    """

    standalone: ClassVar[bool] = True  # its files are not those of `pixgraph.config.Config`

    method: Literal["pixpro", "pixcontrast", "pixpro_full"] = "pixpro"
    data: list[str] = field(default_factory=list)
    backbone: str = "mobilenet_v2"
    weights: str = "random"
    layer: str | None = None
    views: ViewConfig = field(default_factory=ViewConfig)
    pixel: PixelConfig = field(default_factory=PixelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    broken_limit: float = 0.01
    seed: int = 0
    device: str = "auto"
    runs: str = "runs"
    run: str | None = None


def check_pair(name: str, values: Sequence[float], meaning: str, ascending: bool = True) -> None:
    """Look whether a setting is two numbers.

    Args:
        name: Of the setting, with dots.
        values: What was given.
        meaning: What the two are.
        ascending: Whether the second must be at least the first.

    Raises:
        ConfigError: There are fewer or more, or they are in the wrong order.
    """
    if len(values) != 2 or (ascending and values[0] > values[1]):
        raise ConfigError(f"{name}: got {list(values)}, expected {meaning}; correct it")


def check_views(config: ViewConfig) -> None:
    """Look whether crops and colours of both views are given.

    Raises:
        ConfigError: A list has not two numbers, or its range is upside down.
    """
    check_pair("views.area", config.area, "the smallest and the largest share")
    check_pair("views.aspect", config.aspect, "the smallest and the largest width / height")
    for name in ("blur", "solarize"):
        check_pair(f"views.{name}", getattr(config, name), "a probability for each of the two views", ascending=False)


def given_weights(weights: str) -> str | None:
    """The setting `weights` as networks take it: `None` stands for ImageNet's."""
    return None if weights == "imagenet" else weights


def starting_point(weights: str) -> str:
    """The setting `weights` in the words of tables.

    Example:
        >>> starting_point("imagenet"), starting_point("runs/first")
        ('ImageNet-1k', 'first')
    """
    return {"random": "scratch", "imagenet": "ImageNet-1k"}.get(weights, Path(weights).name)
