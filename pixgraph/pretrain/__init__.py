"""Pixel-level pretraining without labels: CNNs whose feature maps become the graph's node embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixgraph.pretrain.pixelcl import PPM, PixelCL

__all__ = ["PPM", "PixelCL"]


def __getattr__(name: str) -> Any:
    """Import the public classes on first use (PEP 562): torch takes a second."""
    if name in __all__:
        from pixgraph.pretrain import pixelcl

        return getattr(pixelcl, name)
    raise AttributeError(f"module 'pixgraph.pretrain' has no attribute {name!r}")
