import pytest
import torch
from small_net import small_net
from torch import nn
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel

from pixgraph.pretrain.pixelcl import PixelCL


def learner():
    torch.manual_seed(0)
    # The scores that follow the two layers take no part in the loss.
    return PixelCL(small_net(), 32, "layer4", projection_size=8, projection_hidden_size=16, seed=0)


def trained(model, images, steps=2):
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        loss = wrapped(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_moving_average()
    return {name: value.clone() for name, value in model.named_parameters()}


@pytest.fixture
def one_process():
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_wrapped_training_is_training():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, model = trained(learner(), images), learner()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        loss = model(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_moving_average()
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value)


@pytest.mark.usefixtures("one_process")
def test_batches_without_a_pair_keep_processes_together():
    net = small_net()
    net.fc = nn.Identity()
    torch.manual_seed(0)
    model = PixelCL(net, 32, "layer4", projection_size=8, projection_hidden_size=16, seed=0, distance_thres=1e-9)
    wrapped = DistributedDataParallel(model)  # without a search for unused parameters: all of them get a gradient
    for _ in range(2):
        wrapped(torch.rand(4, 3, 32, 32)).backward()


def work(rank, folder):
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(rank))
    torch.save(trained(learner(), images), f"{folder}/{rank}.pt")
    destroy_process_group()


@pytest.mark.slow
def test_two_processes_stay_equal(tmp_path):
    spawn(work, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start = dict(learner().named_parameters())
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    assert not torch.equal(first["online_predictor.net.0.weight"], start["online_predictor.net.0.weight"])
