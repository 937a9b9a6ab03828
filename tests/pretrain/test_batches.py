import pytest

from pixgraph.pretrain.batches import StepBatches
from pixgraph.pretrain.config import OptimConfig
from pixgraph.training.distributed import World


class Recorder:
    """Gives what it was asked for."""

    def batch(self, step, batch_size, positions):
        return step, batch_size, list(positions)


@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2)])
def test_processes_and_parts_take_every_position_of_a_step_once(processes, parts):
    config = OptimConfig(steps=5, batch=12, accumulate=parts)
    ranks = [StepBatches(Recorder(), config, World(rank, processes), start=2) for rank in range(processes)]
    assert {len(batches) for batches in ranks} == {3 * parts}
    for step in range(3):
        taken = []
        for batches in ranks:
            for part in range(parts):
                number, size, positions = batches[step * parts + part]
                assert (number, size, len(positions)) == (2 + step, 12, 12 // (parts * processes))
                taken += positions
        assert sorted(taken) == list(range(12))


def test_a_part_of_several_processes_is_the_part_of_one():
    config = OptimConfig(steps=1, batch=8, accumulate=2)
    alone = StepBatches(Recorder(), config, World())
    both = [StepBatches(Recorder(), config, World(rank, 2)) for rank in range(2)]
    for part in range(2):
        assert alone[part][2] == both[0][part][2] + both[1][part][2]
