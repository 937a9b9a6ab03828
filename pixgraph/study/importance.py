"""How much of the variance of an objective each factor explains, by Optuna's evaluators."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pixgraph.study.storage import load_optuna, quiet
from pixgraph.study.trials import Row

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

REPEATS = 5
"""Forests of different seeds whose importances are averaged."""


def evaluator_name() -> str:
    """The method: fANOVA (Hutter et al., 2014) with scikit-learn, else PED-ANOVA (Watanabe et al., 2023)."""
    return "fANOVA" if importlib.util.find_spec("sklearn") else "PED-ANOVA"


def importances(rows: Sequence[Row], objective: Callable[[Row], float]) -> dict[str, float]:
    """Factor to its share, in 0..1, of what all factors explain alone; the largest first.

    Args:
        rows: Trials of random or TPE studies with the same factors.
        objective: What is to be explained.
    """
    optuna = load_optuna()
    done = [r for r in rows if r.state == "complete"]
    names = list(done[0].values) if done else []
    varying = [n for n in names if len({r.values.get(n) for r in done}) > 1 and all(n in r.values for r in done)]
    if len(done) < 10 or not varying or len({objective(r) for r in done}) < 2:
        return {}
    levels = {n: sorted({r.values[n] for r in done}) for n in varying}
    categorical = optuna.distributions.CategoricalDistribution
    with quiet():
        study = optuna.create_study()
        for r in done:
            chosen = {n: r.values[n] for n in varying}
            spread = {n: categorical(levels[n]) for n in varying}
            study.add_trial(optuna.create_trial(params=chosen, distributions=spread, value=objective(r)))
        found = [_shares(study, varying, seed) for seed in range(REPEATS)]
    mean = {n: statistics.fmean(f[n] for f in found) for n in varying}
    return dict(sorted(mean.items(), key=lambda item: -item[1]))


def _shares(study: Any, names: Sequence[str], seed: int) -> dict[str, float]:
    optuna = load_optuna()
    if evaluator_name() == "fANOVA":
        evaluator: Any = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    else:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()

    def value(trial: FrozenTrial) -> float:
        """The objective."""
        return float(trial.values[0])

    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(names), target=value)
    return {n: float(found.get(n, 0.0)) for n in names}
