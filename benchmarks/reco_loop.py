"""ReCo by loops, as its authors' code and reproductions of it compute it: what `speed_reco` compares with.

Written from the description of the method. The draws follow the original: a Python loop over the queries of a class and
over the other classes, which asks for some random pixels each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F


class Problem(NamedTuple):
    """A batch, shaped as `pixgraph.losses.reco.reco_loss` takes it.

    Attributes:
        representation: (B, D, h, w) float32, asks for a gradient.
        label: (B, h, w) int64.
        valid: (B, h, w) bool.
        probability: (B, C, h, w) float32.
    """

    representation: torch.Tensor
    label: torch.Tensor
    valid: torch.Tensor
    probability: torch.Tensor


class ClassDraws(NamedTuple):
    """What was drawn for one class.

    Attributes:
        row: Which of the classes that are present.
        queries: (Q,) int64 pixel numbers.
        negatives: (Q, K) int64 pixel numbers.
    """

    row: int
    queries: torch.Tensor
    negatives: torch.Tensor


def make_problem(
    batch: int, classes: int, height: int, width: int, channels: int, seed: int = 0, device: str = "cpu"
) -> Problem:
    """Labels in blocks of 8 x 8 pixels, vectors that depend on them, one pixel in ten invalid."""
    made = torch.Generator().manual_seed(seed)
    cells = torch.randint(classes, (batch, -(-height // 8), -(-width // 8)), generator=made)
    label = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width].contiguous()
    centres = torch.randn(classes, channels, generator=made)
    noise = torch.randn(batch, channels, height, width, generator=made)
    representation = (noise + centres[label].permute(0, 3, 1, 2)).to(device).requires_grad_()
    valid = torch.rand(label.shape, generator=made) < 0.9
    probability = torch.randn(batch, classes, height, width, generator=made).mul_(2).softmax(1)
    return Problem(representation, label.to(device), valid.to(device), probability.to(device))


def loop_reco(
    problem: Problem,
    seed: int = 0,
    draws: list[ClassDraws] | None = None,
    one_by_one: bool = False,
    temperature: float = 0.5,
    num_queries: int = 256,
    num_negatives: int = 512,
    strong_threshold: float = 0.97,
) -> torch.Tensor:
    """The loss, a scalar.

    Args:
        problem: The batch.
        seed: Of the draws.
        draws: Made elsewhere; none: by `loop_draws`.
        one_by_one: Also compare query by query; otherwise all queries of a class with all their keys at a time, which
            holds (Q, K + 1, D) numbers several times.
        temperature: As in the loss.
        num_queries: As in the loss.
        num_negatives: As in the loss.
        strong_threshold: As in the loss.
    """
    vectors = problem.representation.permute(0, 2, 3, 1).flatten(0, 2)  # (N, D)
    pixels, hard = class_pixels(problem, strong_threshold)
    with torch.no_grad():
        means = [vectors[one].mean(0) for one in pixels]
        if draws is None:
            draws = loop_draws(pixels, hard, means, seed, temperature, num_queries, num_negatives)
    compare = _one_by_one if one_by_one else _at_once
    total = vectors.sum() * 0.0
    for draw in draws:
        total = total + compare(vectors, means[draw.row], draw, temperature)
    return total / len(means)


def class_pixels(problem: Problem, threshold: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Numbers of the valid and of the hard pixels of each class that is present."""
    pixels, hard = [], []
    for c in range(problem.probability.shape[1]):
        mask = (problem.label == c) & problem.valid
        if mask.any():
            pixels.append(mask.flatten().nonzero()[:, 0])
            hard.append((mask & (problem.probability[:, c] < threshold)).flatten().nonzero()[:, 0])
    return pixels, hard


def loop_draws(
    pixels: list[torch.Tensor],
    hard: list[torch.Tensor],
    means: list[torch.Tensor],
    seed: int,
    temperature: float,
    num_queries: int,
    num_negatives: int,
) -> list[ClassDraws]:
    """Queries, and negatives query by query and class by class."""
    rng, found = np.random.default_rng(seed), []
    for row, candidates in enumerate(hard):
        if not len(candidates) or len(means) < 2:
            continue
        queries = candidates[torch.from_numpy(rng.integers(len(candidates), size=num_queries)).to(candidates.device)]
        others = [k for k in range(len(means)) if k != row]
        likeness = F.cosine_similarity(means[row][None], torch.stack([means[k] for k in others]), dim=1)
        share = (likeness / temperature).softmax(0).double().cpu().numpy()
        numbers = torch.cat([pixels[k] for k in others])
        ends = np.cumsum([len(pixels[k]) for k in others])
        counts = rng.multinomial(num_negatives, share / share.sum(), size=num_queries)  # (Q, P - 1)
        places: list[int] = []
        for q in range(num_queries):
            for k in range(len(others)):
                low = ends[k] - len(pixels[others[k]])
                places += rng.integers(low, ends[k], size=counts[q, k]).tolist()
        chosen = numbers[torch.tensor(places, device=numbers.device)]
        found.append(ClassDraws(row, queries, chosen.view(num_queries, num_negatives)))
    return found


def _at_once(vectors: torch.Tensor, mean: torch.Tensor, draw: ClassDraws, temperature: float) -> torch.Tensor:
    """All queries of a class with all their keys."""
    negatives = vectors.detach()[draw.negatives]  # (Q, K, D)
    keys = torch.cat([mean.expand(len(negatives), 1, -1), negatives], 1)
    logits = F.cosine_similarity(vectors[draw.queries][:, None], keys, dim=2) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def _one_by_one(vectors: torch.Tensor, mean: torch.Tensor, draw: ClassDraws, temperature: float) -> torch.Tensor:
    """A query with its keys, one after the other."""
    queries, total = vectors[draw.queries], vectors.new_zeros(())
    for query, negatives in zip(queries, draw.negatives, strict=True):
        keys = torch.cat([mean[None], vectors.detach()[negatives]])
        logits = F.cosine_similarity(query[None], keys, dim=1) / temperature
        total = total + F.cross_entropy(logits[None], logits.new_zeros(1, dtype=torch.int64))
    return total / len(queries)
