"""The table of the ablation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablation_variants import FULL, VARIANTS
from recording import mean_and_deviation, percent, table


def report(result: Mapping[str, Any]) -> str:
    """Scores of all variants with their differences, and the baselines.

    The difference is taken seed by seed, so that what a seed does to both variants cancels.
    """
    settings, trained = result["settings"], result["trained"]
    config = settings["config"]
    sources = [config["data"], *config["extra"]]
    named = [f"{s['root'] or s['name']}{' parts' if s['parts'] else ''} ({s['weight']:g})" for s in sources]
    episodes = f"{settings['episodes']} episodes x protocol seeds {settings['eval_seeds']}"
    parts = [
        f"Scored on the validation classes of {config['data']['name']}, 1-way {settings['k_shot']}-shot, pixgraph-v1, "
        f"{episodes}, after {result['steps']} steps of {config['train']['batch']} episodes; the test classes were not "
        f"touched. Training sources: {', '.join(named)}. mIoU is mean ± standard deviation over the training seeds; "
        "the difference is taken seed by seed.",
        table(
            ["variant", "mIoU %", "difference", "to", "seeds", "seconds"], [_row(v, trained) for v in _shown(trained)]
        ),
    ]
    if "baselines" in result:
        rows = [
            (name, percent(*mean_and_deviation(method["per_seed"])), percent(method["fb_iou"]))
            for name, method in result["baselines"].items()
        ]
        parts += ["Not trained, on the same episodes (± over the protocol seeds):"]
        parts += [table(["method", "mIoU %", "FB-IoU %"], rows)]
    explained = [f"- `{name}`: {VARIANTS[name].text}" for name in _shown(trained)]
    return "\n\n".join([*parts, "\n".join(explained)])


def differences(variant: str, against: str, trained: Mapping[str, Any]) -> list[float]:
    """MIoU of the variant minus that of the other, for each seed that both have."""
    ours, theirs = scores(variant, trained), scores(against, trained)
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def scores(variant: str, trained: Mapping[str, Any]) -> dict[int, float]:
    """Training seed to mIoU."""
    keys = sorted((int(key.rpartition("/")[2]), key) for key in trained if key.rpartition("/")[0] == variant)
    return {seed: trained[key]["miou"] for seed, key in keys}


def _row(variant: str, trained: Mapping[str, Any]) -> tuple[str, ...]:
    found = scores(variant, trained)
    against = VARIANTS[variant].against
    mean, deviation = mean_and_deviation(differences(variant, against, trained))
    times = [trained[f"{variant}/{seed}"]["train_seconds"] for seed in found]
    return (
        variant,
        percent(*mean_and_deviation(found.values())),
        "-" if variant == FULL else percent(mean, deviation, sign=True),
        "-" if variant == FULL else against,
        str(len(found)),
        f"{sum(times) / len(times):.0f}",
    )


def _shown(trained: Mapping[str, Any]) -> list[str]:
    """Variants that have a score, in the order of `VARIANTS`."""
    return [variant for variant in VARIANTS if scores(variant, trained)]
