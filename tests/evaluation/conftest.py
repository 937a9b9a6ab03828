"""Pictures of 64 pixels gain nothing from a second thread, and on a busy machine lose a lot by waiting for it."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
