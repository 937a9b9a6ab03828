"""The four relations of SPML, with what each weighs for each kind of annotation."""

from __future__ import annotations

from typing import NamedTuple

RELATIONS = ("sem_ann", "sem_occ", "img_sim", "feat_aff")
"""Semantic annotation, co-occurrence of tags, similarity of the picture's low-level regions, affinity of features."""


class Strength(NamedTuple):
    """How a relation enters the loss.

    Attributes:
        weight: Factor of its contrast; 0: it is not computed.
        concentration: k of its contrast.
    """

    weight: float
    concentration: float


def _row(ann: Strength, occ: Strength, img: Strength, aff: Strength) -> dict[str, Strength]:
    return dict(zip(RELATIONS, (ann, occ, img, aff), strict=True))


_NO_AFFINITY = Strength(0.0, 12.0)
_COARSE = _row(Strength(0.3, 6.0), Strength(0.3, 8.0), Strength(0.1, 16.0), _NO_AFFINITY)
_SCRIBBLES = _row(Strength(1.0, 6.0), Strength(0.5, 12.0), Strength(0.1, 16.0), _NO_AFFINITY)

TABLE: dict[str, dict[str, Strength]] = {
    "tags": _COARSE,
    "boxes": _COARSE,
    "points": _row(Strength(0.1, 6.0), Strength(0.1, 8.0), Strength(0.1, 16.0), _NO_AFFINITY),
    "scribbles": _SCRIBBLES,
    "masks": _SCRIBBLES,
    "landmarks": _row(Strength(1.0, 6.0), Strength(0.0, 8.0), Strength(0.1, 16.0), Strength(0.5, 12.0)),
    "none": {name: Strength(0.0, 8.0) for name in RELATIONS},
}
"""Published settings (Ke et al. 2021) by annotation; "landmarks" are the points of DensePose. Masks are not among the
published ones and take those of scribbles. "none" has no contrast at all."""


def strengths(
    row: str, weights: dict[str, float | None] | None = None, concentrations: dict[str, float | None] | None = None
) -> dict[str, Strength]:
    """A row of `TABLE` with some of its numbers replaced.

    Args:
        row: Its name.
        weights: By relation; `None` keeps the table's.
        concentrations: By relation; `None` keeps the table's.

    Returns:
        The relations whose weight is not 0.
    """
    found = {}
    for name, published in TABLE[row].items():
        weight, concentration = (weights or {}).get(name), (concentrations or {}).get(name)
        strength = Strength(
            published.weight if weight is None else weight,
            published.concentration if concentration is None else concentration,
        )
        if strength.weight:
            found[name] = strength
    return found
