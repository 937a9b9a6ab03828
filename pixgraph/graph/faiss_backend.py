"""FAISS, loaded when it is first needed: pixgraph works without it, and slower."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib import metadata
from typing import Any

from pixgraph.errors import DependencyError


@lru_cache(maxsize=1)
def load_faiss() -> Any:
    """The FAISS module, or `None` where it is not installed.

    Raises:
        DependencyError: faiss-cpu and faiss-gpu are both installed, which mixes their files in one folder.
    """
    names = {d.metadata["Name"].lower() for d in metadata.distributions(name="faiss-cpu")}
    names |= {d.metadata["Name"].lower() for d in metadata.distributions(name="faiss-gpu")}
    if len(names) > 1:
        raise DependencyError(
            "FAISS: faiss-cpu and faiss-gpu are both installed and overwrite each other; run "
            "`pip uninstall faiss-cpu faiss-gpu`, then install one of them"
        )
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None
