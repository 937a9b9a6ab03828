import pytest
import torch
from torch import nn

from pixgraph.pretrain.reco.teacher import Teacher


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def moved(student, value):
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(value)
        student[1].running_mean.fill_(value)
        student[1].num_batches_tracked.fill_(int(value))


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_the_warm_up_is_the_mean_of_all_students_so_far(decay):
    student = network()
    teacher = Teacher(student, decay, "train", buffers=False)
    expected = 0.0
    for step in range(6):
        moved(student, float(step))
        kept = teacher.follow_step(student, step)
        assert kept == min(1 - 1 / (step + 1), decay)
        expected = kept * expected + (1 - kept) * step
        assert teacher.network[0].weight.flatten().tolist() == pytest.approx([expected] * 6)
    if decay == 0.99:
        assert expected == pytest.approx(2.5)  # the mean of 0 .. 5


def test_buffers_follow_on_request():
    student = network()
    own, followed = Teacher(student, 0.5, "train", False), Teacher(student, 0.5, "eval", True)
    for step in range(2):
        moved(student, 4.0 * (step + 1))
        own.follow_step(student, step)
        followed.follow_step(student, step)
    assert own.network[1].running_mean.tolist() == [0.0] * 3
    assert followed.network[1].running_mean.tolist() == [6.0] * 3
    assert int(followed.network[1].num_batches_tracked) == 8


def test_the_mode_decides_which_statistics_label():
    x = 3 + torch.randn(8, 2, 4, 4)
    student = network()
    train, evaluated = (Teacher(student, 0.9, mode, True) for mode in ("train", "eval"))
    for teacher in (train, evaluated):
        nn.ModuleList([teacher]).train()
    assert train(x).mean().abs() < 1e-5
    assert train.network[1].running_mean.abs().sum() > 0
    assert evaluated(x).mean().abs() > 0.1
    assert evaluated.network[1].running_mean.tolist() == [0.0] * 3
    assert not train(x).requires_grad
    assert not train.eval().network.training
