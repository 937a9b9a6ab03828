import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real pictures (ade20k-objects, camvid, ...); tests that need it are skipped where it is not given."""
    given = os.environ.get("PIXGRAPH_DATA")
    if not given:
        pytest.skip("PIXGRAPH_DATA is not set: no real pictures here")
    if not Path(given).is_dir():
        pytest.fail(f"PIXGRAPH_DATA names {given}, which is no folder")
    return Path(given)
