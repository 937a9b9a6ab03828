"""Whether supports and weights are still the same: what a predictor remembers of them holds as long as they are."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pixgraph.data.picture import FewShotTask


class TensorsKey:
    """Equal to another key if both are of the very same tensors, and none was written to in between.

    The tensors themselves are kept, so that no id can be given to another one meanwhile.

    Args:
        tensors: In an order that counts; `None` stands for one that is not there.
    """

    def __init__(self, tensors: Iterable[torch.Tensor | None]) -> None:
        self.tensors = list(tensors)
        self.versions = [version(t) for t in self.tensors]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorsKey) or self.versions != other.versions:
            return False
        return all(a is b for a, b in zip(self.tensors, other.tensors, strict=True))

    __hash__ = None  # type: ignore[assignment]  # compared, never looked up


class SupportKey(TensorsKey):
    """Equal to another key if both tasks have the very same supports.

    Args:
        task: Its supports and its number of classes count.
    """

    def __init__(self, task: FewShotTask) -> None:
        super().__init__(t for p in task.support for t in (p.rgb, p.label, p.rough, *p.features))
        self.rest = (task.n_way, [(p.key, p.photograph) for p in task.support])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SupportKey) and self.rest == other.rest and super().__eq__(other)

    __hash__ = None


def version(tensor: torch.Tensor | None) -> int | None:
    """How often the tensor was written to; inference tensors do not count it."""
    return None if tensor is None or tensor.is_inference() else tensor._version
