import gc
import threading

import pytest
import torch

from cnnlab.cpu.buffer_pool import BufferPool

LARGE = (2, 1024, 1024)


@pytest.mark.parametrize("shape", [LARGE, (3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_it_returns_the_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = BufferPool().empty(shape, dtype)
    assert (tuple(found.shape), found.dtype, found.is_contiguous()) == (shape, dtype, True)


def test_a_buffer_is_reused_when_its_tensor_is_gone() -> None:
    pool = BufferPool()
    first = pool.empty(LARGE, torch.uint8)
    place = first.data_ptr()
    assert place % 64 == 0
    del first
    assert pool.empty(LARGE, torch.uint8).data_ptr() == place
    assert pool.empty((1, 1024, 1024), torch.uint8).data_ptr() == place  # a shorter last batch


def test_a_buffer_with_a_live_view_is_not_reused() -> None:
    pool = BufferPool()
    row = pool.empty(LARGE, torch.uint8).fill_(7)[1, 5]  # a view alone remains
    assert pool.empty(LARGE, torch.uint8).fill_(9).sum() == 9 * 2 * 1024 * 1024
    assert (row == 7).all()


def test_a_buffer_that_a_backward_pass_needs_is_not_reused() -> None:
    pool, weight = BufferPool(), torch.ones(1, requires_grad=True)
    images = pool.empty(LARGE, torch.float32).fill_(2)
    loss = (images * weight).sum()
    del images
    gc.collect()
    pool.empty(LARGE, torch.float32).fill_(5)
    loss.backward()
    assert weight.grad == 2 * torch.Size(LARGE).numel()


def test_smaller_blocks_are_dropped_for_a_larger_one() -> None:
    pool = BufferPool()
    pool.empty(LARGE, torch.uint8)
    pool.empty(LARGE, torch.float32)
    assert [block.nbytes for block in pool._free] == [4 * 2 * 1024 * 1024 + 64]


def test_threads_never_share_a_block() -> None:
    pool, wrong = BufferPool(), []

    def use(number: int) -> None:
        for _ in range(50):
            mine = pool.empty(LARGE, torch.uint8).fill_(number)
            if not (mine == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(pool._free) <= 2 * len(threads)  # each holds one while it asks for the next
