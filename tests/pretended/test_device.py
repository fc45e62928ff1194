"""The pretended device by itself: what it computes, records, refuses and finds."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, COPY, KERNEL, MIX, RACE, WAIT

GPU = torch.device("cuda", 0)


def test_its_tensors_say_cuda_and_compute_what_the_cpu_does() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    images = torch.randn(5, 1, 6, 6)
    wanted = torch.autograd.grad(network(images).square().sum(), list(network.parameters()))

    with pretended():
        network.to(GPU)
        assert all(p.is_cuda and isinstance(p, nn.Parameter) for p in network.parameters())
        assert str(images.to("cuda:0").device) == "cuda:0"
        network(images.to(GPU)).square().sum().backward()
        found = [p.grad.cpu() for p in network.parameters() if p.grad is not None]
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))


def test_kernels_are_counted_and_views_are_not() -> None:
    with pretended() as record:
        maps = torch.ones(2, 3, 4, device=GPU)
        record.clear()
        (maps.transpose(1, 2)[:, 1:].unsqueeze(0) + 1).mul_(2)
        assert record.counts() == {KERNEL: 2}
        assert record.of(KERNEL)[0].endswith("kernel: add")
        assert record.of(KERNEL)[0].startswith("test_device.py:")


@pytest.mark.parametrize(
    "wait", [float, torch.Tensor.tolist, torch.nonzero, lambda x: x[x > 0], torch.Tensor.cpu]
)
def test_what_the_host_waits_for_is_found(wait) -> None:
    with pretended() as record:
        one = torch.ones(1, device=GPU)
        record.clear()
        wait(one)
        counts = record.counts()
    assert counts[WAIT] + counts[BLOCKING_COPY] == 1


def test_copies_that_block_are_told_from_those_that_do_not() -> None:
    with pretended() as record:
        host = torch.ones(3)
        host.to(GPU)
        host.pin_memory().to(GPU, non_blocking=True).to("cuda:1")
        torch.tensor([1.0, 2.0], device=GPU)
        assert record.counts() == {BLOCKING_COPY: 2, COPY: 2}


def test_a_copy_from_memory_that_is_not_pinned_blocks_whatever_it_was_asked_to_do() -> None:
    with pretended() as record:
        torch.ones(3).to(GPU, non_blocking=True)
        torch.ones(3, device=GPU).copy_(torch.ones(3), non_blocking=True)
        assert record.counts()[BLOCKING_COPY] == 2

        record.clear()
        pinned = torch.ones(3).pin_memory()
        assert pinned.is_pinned()
        pinned[1:].to(GPU, non_blocking=True)
        assert record.counts() == {COPY: 1}


def test_what_is_there_already_is_not_copied() -> None:
    with pretended() as record:
        there = torch.ones(3, device=GPU)
        record.clear()
        assert there.to(GPU) is there
        assert there.to("cuda", torch.float32, non_blocking=True) is there
        assert there.cuda() is there
        assert not record.events


def test_a_list_as_an_index_is_copied_there() -> None:
    with pretended() as record:
        there = torch.arange(6.0, device=GPU).view(2, 3)
        found = there[:, [2, 0]]
        there[[1], [0]] = 7
        assert record.counts()[BLOCKING_COPY] == 2
        assert found.tolist() == [[2, 0], [5, 3]]
        assert there.tolist() == [[0, 1, 2], [7, 4, 5]]


def test_operands_on_two_devices_are_refused() -> None:
    with pretended() as record:
        first, second = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
        for other in (second, torch.ones(2)):
            with pytest.raises(RuntimeError, match="expected all tensors on one device"):
                first + other
        with pytest.raises(RuntimeError, match="one device"):
            torch.ones(2)[torch.zeros(1, dtype=torch.int64, device=GPU)]
        with pytest.raises(RuntimeError, match="one device"):
            torch.stack([first[0], torch.tensor(1.0)])
        assert record.counts()[MIX] == 4
        assert (first + torch.tensor(1.0)).tolist() == [2, 2]  # a number on the host is fine
        assert first[torch.tensor([1])].device == GPU


@pytest.mark.parametrize("copy", ["to", "copy_"])
def test_the_host_reads_garbage_until_it_waits(copy: str) -> None:
    with pretended() as record:
        there = torch.ones(2, device=GPU)
        if copy == "to":
            here = there.to("cpu", non_blocking=True)
        else:
            here = torch.zeros(2).copy_(there, non_blocking=True)
        assert (here + 1).isnan().all()
        (first, *_) = record.of(RACE)
        assert "race: add uses what test_device.py:" in first

        record.clear()
        torch.cuda.synchronize()
        assert here.tolist() == [1, 1]
        assert not record.of(RACE)


def test_pinned_memory_is_not_to_be_overwritten_before_it_was_read() -> None:
    with pretended() as record:
        pinned = torch.zeros(4).pin_memory()
        there = pinned[:2].to(GPU, non_blocking=True)
        float(pinned.sum())  # reading is fine
        assert not record.of(RACE)
        pinned[2:].copy_(torch.ones(2))
        (only,) = record.of(RACE)
        assert "race: copy_ overwrites what test_device.py:" in only

        record.clear()
        float(torch.ones((), device="cuda:1"))  # of another device
        torch.add(torch.ones(4), 1, out=pinned)
        assert len(record.of(RACE)) == 1

        record.clear()
        there.tolist()
        pinned.zero_()
        assert not record.of(RACE)


def test_it_tells_which_thread_waited() -> None:
    with pretended() as record:
        one = torch.ones((), device=GPU)
        thread = threading.Thread(target=lambda: float(one), name="reader")
        thread.start()
        thread.join()
        assert record.threads_of(WAIT) == {"reader"}


def test_a_wait_for_another_device_does_not_help() -> None:
    with pretended() as record:
        here = torch.ones(2, device="cuda:0").to("cpu", non_blocking=True)
        float(torch.ones((), device="cuda:1"))
        here.clone()
        assert len(record.of(RACE)) == 1


def test_masks_come_from_the_generator_of_the_device() -> None:
    torch.manual_seed(0)
    wanted = [F.dropout(torch.ones(50)), torch.rand(3)]
    following = torch.rand(2)

    with pretended():
        torch.cuda.default_generators[1].manual_seed(0)
        torch.manual_seed(5)
        ones = torch.ones(50, device="cuda:1")
        found = [F.dropout(ones).cpu(), torch.rand(3, device="cuda:1").cpu()]
        torch.cuda.default_generators[1].manual_seed(0)
        F.dropout(ones)
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, device=GPU, generator=torch.Generator())
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))
    assert not torch.equal(torch.rand(2), following)


def test_inference_mode_counts_what_training_counts() -> None:
    counts = []
    with pretended() as record:
        layer, row = nn.Linear(3, 2).to(GPU), torch.ones(1, 3, device=GPU)
        for mode in (torch.no_grad(), torch.inference_mode()):
            record.clear()
            with mode:
                F.max_pool2d(layer(row).softmax(1)[None], 2, 1, 1).flatten()
            counts.append(record.counts())
    assert counts[0] == counts[1]


def test_torch_is_left_as_it_was() -> None:
    before = torch.cuda.is_available, torch.cuda.default_generators, torch.Tensor.pin_memory
    with pretended(3):
        assert torch.cuda.is_available()
        assert torch.cuda.device_count() == 3
    assert (torch.cuda.is_available, torch.cuda.default_generators) == before[:2]
    assert torch.Tensor.pin_memory is before[2]
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
