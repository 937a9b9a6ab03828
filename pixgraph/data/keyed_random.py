"""Randomness that belongs to one picture: the same whatever else is drawn, and for any order or number of workers."""

from __future__ import annotations

import hashlib

import numpy as np

from pixgraph.errors import ConfigError


def keyed_generator(seed: int, key: str, purpose: str = "") -> np.random.Generator:
    """A generator that depends on the seed, the picture's key and the purpose, and on nothing else.

    Raises:
        ConfigError: The seed is negative.
    """
    if seed < 0:
        raise ConfigError(f"seed: got {seed}, expected 0 or more; correct it")
    digest = hashlib.sha256(f"{purpose}\n{key}".encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])
