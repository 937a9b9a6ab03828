"""What the graph and the model see of a photograph, and the few-shot task that such pictures form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch


@dataclass
class Picture:
    """A photograph at the working size with the feature maps of a frozen backbone.

    Attributes:
        key: Stable name of the content; seeds the sampling of its nodes, so that the same picture gives the same nodes.
        rgb: (3, H, W) float32 in 0..1.
        features: One map a backbone level, (C_l, H_l, W_l) float32, finest level first.
        size: Height and width of the original photograph, in pixels.
        label: (H, W) int64: 0 background, 1..N the ways of the task, 254 not marked (`UNLABELLED`), 255 unknown; `None`
            when nothing is known.
        rough: (H, W) bool: where `label` is only likely, as inside a box; `None`: nowhere.
        photograph: What windows of one photograph have in common; `None`: this is a whole one.
    """

    key: str
    rgb: torch.Tensor
    features: list[torch.Tensor]
    size: tuple[int, int]
    label: torch.Tensor | None = None
    rough: torch.Tensor | None = None
    photograph: str | None = None

    def to(self, device: torch.device | str) -> Picture:
        """The picture with all its tensors on `device`."""
        label = None if self.label is None else self.label.to(device)
        rough = None if self.rough is None else self.rough.to(device)
        features = [f.to(device) for f in self.features]
        return replace(self, rgb=self.rgb.to(device), features=features, label=label, rough=rough)


@dataclass
class FewShotTask:
    """Labelled supports, queries to segment, and pictures without labels.

    Attributes:
        n_way: Number of foreground classes N; labels are 0..N, 254 and 255.
        support: Labelled pictures; each may show any of the N classes.
        query: Pictures to segment; their `label` is the truth (training, scoring) or `None`.
        unlabelled: Further pictures whose labels are never read.
    """

    n_way: int
    support: list[Picture]
    query: list[Picture]
    unlabelled: list[Picture] = field(default_factory=list)

    def to(self, device: torch.device | str) -> FewShotTask:
        """The task with all its pictures on `device`."""
        return FewShotTask(
            self.n_way,
            [p.to(device) for p in self.support],
            [p.to(device) for p in self.query],
            [p.to(device) for p in self.unlabelled],
        )
