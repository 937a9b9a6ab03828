"""Everything that a study says, computed from its trials: what the page, the files and the presets are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixgraph.study.effects import Effect, Marginal, effects, marginals
from pixgraph.study.importance import importances
from pixgraph.study.interactions import Interaction, interactions
from pixgraph.study.recommend import Candidate, candidates, recommend
from pixgraph.study.trials import Row


@dataclass(frozen=True)
class Part:
    """A part of a study.

    Attributes:
        name: Its name.
        mode: "propagate" or "train".
        sampler: "grid", "random" or "tpe".
        about: Its options and data, as they were when it was begun.
    """

    name: str
    mode: str
    sampler: str
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        parts: The parts.
        rows: All ended trials.
        effects: Part to the effects of its factors, for grids.
        marginals: Part to mean mIoU by value, for the others.
        importance: Part to objective to factor to share.
        interactions: Part to pairs.
        candidates: The training-free trials beside their default.
        recommended: The settings to take.
    """

    parts: Sequence[Part]
    rows: Sequence[Row]
    effects: Mapping[str, Sequence[Effect]]
    marginals: Mapping[str, Sequence[Marginal]]
    importance: Mapping[str, Mapping[str, Mapping[str, float]]]
    interactions: Mapping[str, Sequence[Interaction]]
    candidates: Sequence[Candidate]
    recommended: Mapping[str, Candidate]


def find(rows: Sequence[Row], parts: Sequence[Part], seed: int = 0) -> Findings:
    """Analyse the trials; what there are too few trials for is left empty.

    Args:
        rows: All ended trials, after `trials.machine_speed`.
        parts: The parts that they belong to.
        seed: Seed of permutations.
    """
    grids = [p.name for p in parts if p.sampler == "grid"]
    drawn = [p.name for p in parts if p.sampler != "grid"]
    of = {p.name: [r for r in rows if r.part == p.name] for p in parts}
    found = candidates(rows, [p.name for p in parts if p.mode == "propagate"])
    return Findings(
        parts,
        rows,
        {name: effects(rows, name) for name in grids},
        {name: marginals(rows, [name]) for name in drawn},
        {name: shares for name in drawn if (shares := _shares(of[name]))},
        {name: pairs for name in drawn if (pairs := interactions(of[name], seed))},
        found,
        recommend(found),
    )


def _shares(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    objectives = {"mIoU": lambda r: float(r.miou or 0), "time": lambda r: float(r.details["even_ms"])}
    found = {name: importances(rows, value) for name, value in objectives.items()}
    return {name: shares for name, shares in found.items() if shares}
