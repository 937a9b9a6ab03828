"""Whether two tasks have the same supports: what a predictor remembers of them holds as long as they have."""

from __future__ import annotations

import torch

from pixgraph.data.picture import FewShotTask


class SupportKey:
    """Equal to another key if both tasks have the very same support tensors, and none was written to in between.

    The tensors themselves are kept, so that no id can be given to another one meanwhile.

    Args:
        task: Its supports and its number of classes count.
    """

    def __init__(self, task: FewShotTask) -> None:
        tensors = [t for p in task.support for t in (p.rgb, p.label, p.rough, *p.features)]
        self.tensors = tensors
        self.rest = (task.n_way, [(p.key, p.photograph) for p in task.support], [version(t) for t in tensors])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SupportKey) or self.rest != other.rest:
            return False
        return all(a is b for a, b in zip(self.tensors, other.tensors, strict=True))

    __hash__ = None  # type: ignore[assignment]  # compared, never looked up


def version(tensor: torch.Tensor | None) -> int | None:
    """How often the tensor was written to; inference tensors do not count it."""
    return None if tensor is None or tensor.is_inference() else tensor._version
