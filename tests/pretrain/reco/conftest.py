"""A tiny CamVid of coloured regions, for the tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_reco import write_camvid


@pytest.fixture(scope="session")
def camvid(tmp_path_factory):
    return write_camvid(tmp_path_factory.mktemp("camvid"))
