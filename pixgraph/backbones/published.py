"""Networks of segmentation_models_pytorch, built with its mistakes told in one line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pixgraph.errors import CheckpointError, ConfigError, DependencyError


def published_network(kind: str, called: str, encoder: str, imagenet: bool, **settings: Any) -> Any:
    """A network of segmentation_models_pytorch with five levels of an encoder.

    Args:
        kind: Name of its class, such as "Unet".
        called: What backbones of this kind are called, such as "unet".
        encoder: As in `segmentation_models_pytorch.encoders.get_encoder_names()`, or "tu-NAME" for one of timm.
        imagenet: Start from ImageNet weights of the encoder.
        settings: More arguments of the class.

    Raises:
        DependencyError: segmentation_models_pytorch is not installed.
        ConfigError: It has no such encoder, or one that this network cannot use.
        CheckpointError: The ImageNet weights cannot be fetched.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise DependencyError(
            f"backbone '{called}:...' needs the package segmentation_models_pytorch; pip install 'pixgraph[smp]'"
        ) from error
    known = smp.encoders.get_encoder_names()
    if not encoder.startswith("tu-") and encoder not in known:
        close = get_close_matches(encoder, known, 3) or known[:3]
        raise ConfigError(
            f"backbone '{called}:{encoder}': no such encoder; did you mean {', '.join(close)}, or tu-NAME?"
        )
    try:
        network = getattr(smp, kind)(encoder, encoder_weights="imagenet" if imagenet else None, **settings)
    except (OSError, KeyError) as error:
        raise CheckpointError(
            f"ImageNet weights of {called}:{encoder} cannot be fetched ({str(error).splitlines()[0]}); "
            "give a file, or 'random'"
        ) from error
    except (ValueError, RuntimeError, NotImplementedError) as error:
        reason = (str(error) or "it cannot be dilated").splitlines()[0]
        raise ConfigError(f"backbone '{called}:{encoder}': cannot be built ({reason})") from error
    if len(network.encoder.out_channels) != 6:
        raise ConfigError(f"backbone '{called}:{encoder}': this encoder does not halve five times; choose another")
    return network
