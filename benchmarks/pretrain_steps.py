"""The training steps that `speed_pretrain` measures, each built from JSON values, so that a child can build it too."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.pretrain.config import PixelConfig, PretrainConfig, ViewConfig
from pixgraph.pretrain.encoders import DenseEncoder, build_encoder
from pixgraph.pretrain.local_ppm import LocalPropagation
from pixgraph.pretrain.methods import build_method
from pixgraph.pretrain.ppm import PixelPropagation
from pixgraph.pretrain.views import ViewBatch

Step = Callable[[], None]
PACKAGE, OURS = "pixel-level-contrastive-learning", "pixgraph"
NETWORK, TARGET, WHOLE_STEP = "UNet, two views", "and the target's forward pass", "step of full-resolution PixPro"
FORMS = {"cells of 16": "cell", "window of 17": "window", "whole map, sampled pixels": "map"}
ALL_PAIRS = "whole map, all pixels"
CROP = 0.7
RECTS = ([0.0, 0.0, 0.8, 0.8], [0.9, 0.1, 0.2, 0.9])
"""Of the two views: they share half of the first one, the second one is mirrored."""


@dataclass(frozen=True)
class Case:
    """A map that PixelCL is trained at.

    Attributes:
        cells: Side of the map.
        layer: Layer of ResNet-18 that gives it.
        image: Side of the pictures in pixels.
        batch: Pictures a step.
        hidden: Channels inside the heads.
        device: "cpu" or "cuda".
    """

    cells: int
    layer: str
    image: int
    batch: int
    hidden: int = 2048
    device: str = "cpu"

    @property
    def broadcast_bytes(self) -> int:
        """Size of one of the package's arrays of all pairs of cells and all 256 channels."""
        return 4 * self.batch * 256 * self.cells**4


@dataclass(frozen=True)
class Full:
    """Full-resolution PixPro.

    Attributes:
        network: "unet" or "unet-small".
        size: Side of a view in pixels.
        batch: Pictures a step.
        hidden: Channels inside the heads; the projection has a quarter.
        pairs: Positive pairs a picture.
        limit: Pixels that are compared.
        device: "cpu" or "cuda".
    """

    network: str
    size: int
    batch: int
    hidden: int = 256
    pairs: int = 150
    limit: int = 60
    device: str = "cpu"


def build_step(spec: dict[str, Any]) -> Step:
    """A step by its ``kind``, ``name`` and settings, with one seed for all weights and pictures.

    Raises:
        DependencyError: It needs a package that is not installed.
        ConfigError: There is no such step.
    """
    torch.manual_seed(0)
    kind, name = spec["kind"], spec["name"]
    if kind == "pixelcl":
        return _learner_step(name, Case(**spec["case"]))
    if kind == "full":
        return _full_step(name, Full(**spec["case"]))
    if kind == "propagation":
        return _propagation_step(name, **spec["case"])
    raise ConfigError(f"step {kind!r} is unknown; expected pixelcl, full or propagation")


def _learner_step(name: str, case: Case) -> Step:
    """A step of PixelCL, ours or the package's: forward, backward, Adam, target; no photometric augmentation."""
    from torchvision.models import resnet18

    learner = _pixelcl(name)(
        resnet18(),
        image_size=case.image,
        hidden_layer_pixel=case.layer,
        hidden_layer_instance="avgpool",
        projection_hidden_size=case.hidden,
        augment_fn=nn.Identity(),
        prob_rand_hflip=0.0,
    ).to(case.device)
    pixels = torch.rand(case.batch, 3, case.image, case.image, device=case.device)
    loss = _cropped(learner, pixels, name)
    loss()  # the package makes its target now
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        learner.update_moving_average()

    return step


def _cropped(learner: nn.Module, pixels: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
    """The loss with two given crops."""
    side = pixels.shape[-1]
    crops = [(0, 0, int(CROP * side)), (side // 5, side // 10, int(CROP * side))]  # top, left, side
    if name == OURS:
        from pixgraph.pretrain.pixelcl_crops import Crops

        given = tuple(Crops([(top, left, edge, edge)], [False]) for top, left, edge in crops)
        return lambda: learner(pixels, crops=given)
    boxes = itertools.cycle(((top, top + edge), (left, left + edge)) for top, left, edge in crops)
    module = sys.modules[type(learner).__module__]
    vars(module)["cutout_coordinates"] = lambda *args, **kwargs: (next(boxes), CROP)
    return lambda: learner(pixels)


def _pixelcl(name: str) -> Any:
    if name == OURS:
        from pixgraph.pretrain.pixelcl import PixelCL

        return PixelCL
    try:
        from pixel_level_contrastive_learning import PixelCL as Published
    except ImportError as error:
        raise DependencyError(f"not installed: pip install {PACKAGE}") from error
    return Published


def _full_step(name: str, full: Full) -> Step:
    """The UNet's own passes over both views, these with the target's, or a whole step of training."""
    encoder = build_encoder(full.network, "random").to(full.device)
    batch = _views(full)
    if name == NETWORK:
        return lambda: _passes(encoder, batch)
    pixel = PixelConfig(
        projection=full.hidden // 4, hidden=full.hidden, num_pairs=full.pairs, intersect_limit=full.limit
    )
    config = PretrainConfig(views=ViewConfig(size=full.size), pixel=pixel)
    method = build_method("pixpro_full", encoder, config).to(full.device)
    if name == TARGET:
        return lambda: _passes(encoder, batch, method.target.network.get_submodule("encoder"))
    if name != WHOLE_STEP:
        raise ConfigError(f"step {name!r} is unknown; expected one of {NETWORK}, {TARGET}, {WHOLE_STEP}")
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.01, 0.9)

    def step() -> None:
        optimizer.zero_grad()
        method(batch, 0)[0].backward()
        optimizer.step()
        method.update_target(0.99)

    return step


def _passes(encoder: DenseEncoder, batch: ViewBatch, target: nn.Module | None = None) -> None:
    """Forward and backward pass of both views, forward alone of the target."""
    if target is not None:
        with torch.no_grad():
            target(batch.first), target(batch.second)
    encoder.zero_grad()
    (encoder(batch.first)[0].mean() + encoder(batch.second)[0].mean()).backward()


def _views(full: Full) -> ViewBatch:
    first, second = torch.rand(2, full.batch, 3, full.size, full.size)
    rect1, rect2 = (torch.tensor([rect] * full.batch) for rect in RECTS)
    return ViewBatch(first, second, rect1, rect2, torch.arange(full.batch)).to(full.device)


def _propagation_step(name: str, size: int, channels: int = 64, pairs: int = 150, device: str = "cpu") -> Step:
    """Propagation at sampled pixels of one map, or of all pixels as in PixPro: forward and backward."""
    x = torch.randn(1, channels, size, size, device=device, requires_grad=True)
    image = torch.zeros(pairs, dtype=torch.int64, device=device)
    pixel = torch.randint(size * size, (pairs,), device=device)
    if name == ALL_PAIRS:
        whole = PixelPropagation(channels, chunk=None).to(device)
        return lambda: whole(x).flatten(2)[image, :, pixel].mean().backward()
    if name not in FORMS:
        raise ConfigError(f"propagation {name!r} is unknown; expected one of {', '.join([*FORMS, ALL_PAIRS])}")
    local = LocalPropagation(channels, form=FORMS[name], reach=16).to(device)
    return lambda: local(x, image, pixel).mean().backward()
