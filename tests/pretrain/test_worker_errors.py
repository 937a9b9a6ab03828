import pytest
from torch.utils.data import DataLoader, Dataset

from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.worker_errors import one_line


class Broken(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise DataError(f"picture {index}: broken; replace it")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_workers_are_one_line(workers):
    with pytest.raises(DataError, match=r"^picture 0: broken") as caught, one_line():
        list(DataLoader(Broken(), batch_size=None, num_workers=workers))
    assert str(caught.value) == "picture 0: broken; replace it"


def test_other_errors_pass_as_they_are():
    given = ConfigError("first line\nsecond line")
    with pytest.raises(ConfigError, match="first line\nsecond") as caught, one_line():
        raise given
    assert caught.value is given
    with pytest.raises(ValueError, match="no error of the user"), one_line():
        raise ValueError("no error of the user")
