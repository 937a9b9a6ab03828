"""Few-shot segmentation with graphs of pixels.

Heavy modules load on first use: ``import pixgraph`` itself imports neither torch nor DGL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixgraph.version import __version__

if TYPE_CHECKING:
    from pixgraph.segmenter import FewShotSegmenter

__all__ = ["FewShotSegmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public classes on first use (PEP 562)."""
    if name == "FewShotSegmenter":
        from pixgraph.segmenter import FewShotSegmenter

        return FewShotSegmenter
    raise AttributeError(f"module 'pixgraph' has no attribute {name!r}")
