"""Any encoder of timm as a frozen backbone: CNN pyramids, and the dense maps of vision transformers."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from pixgraph.backbones.weights import fit_weights, read_weights
from pixgraph.errors import CheckpointError, ConfigError, DependencyError

PREFIX = "timm:"
_VIT_LEVELS = 4


class TimmBackbone(Backbone):
    """An encoder of timm.

    CNNs and hierarchical transformers give every stage of stride 4 or more; plain vision transformers the output of
    the last block of each quarter of their depth, after the final norm, at the stride of their patches. Models of
    one input size get the picture resized to it.

    Args:
        name: "timm:NAME", NAME as in `timm.list_models()`, with or without a tag such as ".in1k".
        weights: File in timm's layout, with or without the head; `None` fetches the published weights; "random"
            leaves it untrained (tests).

    Raises:
        DependencyError: timm is not installed.
        ConfigError: timm has no such model, or it has no feature maps.
        CheckpointError: The file does not fit, or the weights cannot be fetched.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        network, pretrained_on = _load(name.removeprefix(PREFIX), weights)
        if not hasattr(network, "forward_intermediates") or not hasattr(network, "feature_info"):
            raise ConfigError(f"backbone.name {name!r}: this model of timm has no feature maps; choose another")
        strides = _reductions(network)
        # One stride throughout marks a plain vision transformer.
        self_similar = len(set(strides)) == 1 and len(strides) > _VIT_LEVELS
        depth = len(strides)
        quarters = [depth * (i + 1) // _VIT_LEVELS - 1 for i in range(_VIT_LEVELS)]
        indices = quarters if self_similar else [i for i, s in enumerate(strides) if s >= 4]
        settings: dict[str, Any] = getattr(network, "pretrained_cfg", {})
        mean, std = settings.get("mean", IMAGENET_MEAN), settings.get("std", IMAGENET_STD)
        super().__init__(name, pretrained_on, tuple(f"stage {i}" for i in indices), tuple(mean), tuple(std))
        self.network = network
        self.indices = indices
        self.norm = self_similar
        self.patch = strides[0] if self_similar else 1
        fixed = settings.get("fixed_input_size", False) and not _accepts_any_size(name.removeprefix(PREFIX))
        self.side = settings["input_size"][-1] if fixed else None
        self.describe(side=self.side or (32 * self.patch if self_similar else 256))

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first."""
        if self.side is not None:
            h, w = self.side, self.side
        else:  # patches must tile the picture
            h, w = (max(1, round(side / self.patch)) * self.patch for side in x.shape[2:])
        if x.shape[2:] != (h, w):
            x = F.interpolate(x, (h, w), mode="bilinear", align_corners=False)
        arguments: dict[str, Any] = {"norm": True} if self.norm else {}
        maps = self.network.forward_intermediates(  # type: ignore[operator]
            x, indices=self.indices, intermediates_only=True, output_fmt="NCHW", **arguments
        )
        return list(maps)


def _reductions(network: nn.Module) -> list[int]:
    """Stride of each stage or block that `forward_intermediates` can give."""
    info: Any = network.feature_info
    return [int(entry["reduction"]) for entry in (info if isinstance(info, list) else info.info)]


def _load(name: str, weights: str | Path | None) -> tuple[nn.Module, str]:
    try:
        import timm
    except ImportError as error:
        raise DependencyError("backbone 'timm:...' needs the package timm; pip install 'pixgraph[timm]'") from error
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), 3) or timm.list_models()[:3]
        raise ConfigError(
            f"backbone.name 'timm:{name}' is unknown to timm {timm.__version__}; did you mean {', '.join(close)}?"
        )
    flexible: dict[str, Any] = {"dynamic_img_size": True} if _accepts_any_size(name) else {}
    if weights is None:
        try:
            network = timm.create_model(name, pretrained=True, num_classes=0, **flexible)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"weights of timm:{name} cannot be fetched ({_first_line(error)}); pass --backbone.weights FILE, "
                "or use --backbone.name filters, which needs none"
            ) from error
        published: Any = network.pretrained_cfg
        return network, str(published.get("tag") or "timm's default weights")
    network = timm.create_model(name, pretrained=False, num_classes=0, **flexible)
    if weights == "random":
        return network, "nothing (random weights)"
    tensors, metadata = read_weights(weights)
    settings: Any = network.pretrained_cfg
    head = settings.get("classifier") or "head"
    heads = (head,) if isinstance(head, str) else tuple(head)
    fit_weights(network, tensors, str(weights), tuple(f"{h}." for h in heads))
    return network, metadata.get("pretrained_on", f"weights file {Path(weights).name}")


def _accepts_any_size(name: str) -> bool:
    """Whether this is a transformer with learnt positions that are interpolated when it is told so."""
    import timm

    module = timm.model_entrypoint(name).__module__
    return module.endswith((".vision_transformer", ".eva", ".deit"))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
