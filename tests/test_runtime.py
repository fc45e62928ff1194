"""Device, precision, threads, seeds; and that a run inherits nothing from the one before it."""

import contextlib
import hashlib
import operator
import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnlab import runtime
from cnnlab.errors import ResourceError, UsageError

CPU = torch.device("cpu")
NO_CUDA = not torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _restore_globals() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    runtime.configure(CPU)
    torch.set_num_threads(num_threads)


def test_seeds_are_the_documented_function() -> None:
    digest = hashlib.sha256(b"3/dropout/17").digest()
    assert runtime.derive_seed(3, "dropout", 17) == int.from_bytes(digest[:8], "little")
    assert runtime.derive_seed(3, "dropout") == runtime.derive_seed(3, "dropout", 0)


@given(
    one=st.tuples(st.integers(0, 99), st.sampled_from(["init", "order"]), st.integers(0, 99)),
    other=st.tuples(st.integers(0, 99), st.sampled_from(["init", "order"]), st.integers(0, 99)),
)
def test_different_purposes_and_indices_have_different_seeds(
    one: tuple[int, str, int], other: tuple[int, str, int]
) -> None:
    assert (runtime.derive_seed(*one) == runtime.derive_seed(*other)) == (one == other)


def test_a_generator_depends_on_nothing_but_its_seed() -> None:
    first = torch.rand(5, generator=runtime.make_generator(1, "augment", 2))
    torch.rand(7)
    assert torch.equal(first, torch.rand(5, generator=runtime.make_generator(1, "augment", 2)))


def test_dropout_masks_depend_on_seed_and_index_alone() -> None:
    ones = torch.ones(1000)

    def mask(seed: int, index: int) -> torch.Tensor:
        runtime.dropout_seeder(seed, CPU)(index)
        return torch.dropout(ones, 0.5, train=True)

    first = mask(0, 4)
    torch.rand(3)
    assert torch.equal(first, mask(0, 4))
    assert not torch.equal(first, mask(0, 5))
    assert not torch.equal(first, mask(1, 4))


@pytest.mark.gpu
def test_dropout_masks_on_a_gpu_depend_on_seed_and_index_alone() -> None:
    device = torch.device("cuda:0")
    ones = torch.ones(1000, device=device)
    masks = []
    for index in (4, 5, 4):
        runtime.dropout_seeder(0, device)(index)
        masks.append(torch.dropout(ones, 0.5, train=True))
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])


def test_cpu_is_always_there() -> None:
    assert runtime.select_device("cpu") == CPU


@pytest.mark.skipif(not NO_CUDA, reason="this machine has CUDA")
def test_auto_takes_the_cpu_where_there_is_no_cuda() -> None:
    assert runtime.select_device("auto") == CPU


@pytest.mark.skipif(not NO_CUDA, reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_a_missing_gpu_is_a_missing_resource(name: str) -> None:
    with pytest.raises(ResourceError, match=f"runtime.device={name}") as caught:
        runtime.select_device(name)
    assert caught.value.exit_code == 6
    assert "runtime.device=cpu" in str(caught.value)


@pytest.mark.gpu
def test_a_gpu_number_too_high_says_how_many_there_are() -> None:
    with pytest.raises(ResourceError, match="this machine has"):
        runtime.select_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.gpu
def test_auto_takes_the_first_gpu() -> None:
    assert runtime.select_device("auto") == torch.device("cuda:0")
    assert "GiB" in runtime.describe_device(torch.device("cuda:0"))


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "CUDA"])
def test_other_words_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda, cuda:N or mps"):
        runtime.select_device(name)


def test_the_description_names_processor_and_threads() -> None:
    torch.set_num_threads(1)
    assert runtime.describe_device(CPU) == f"cpu ({runtime.processor_name()}, 1 thread)"
    assert runtime.processor_name()


def test_a_run_inherits_nothing_from_the_one_before() -> None:
    """Whatever a sweep's job sets, or a plugin of it, the next job starts from the same state."""
    runtime.configure(CPU)
    before = global_state()
    runtime.configure(CPU, precision="tf32", num_threads=before["threads"] + 1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    assert all(global_state()[key] != before[key] for key in before)
    runtime.configure(CPU)
    assert global_state() == before


def global_state() -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "matmul": torch.backends.cuda.matmul.fp32_precision,
        "convolution": torch.backends.cudnn.conv.fp32_precision,
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


def test_fp32_means_float32_in_convolutions_too() -> None:
    runtime.configure(CPU, precision="fp32")
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    runtime.configure(CPU, precision="tf32")
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def old_getters() -> tuple[bool, bool, str]:
    """Return what torch's older switches say; they raise where they differ from the newer ones."""
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled):
        pass
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    return matmul, cudnn, torch.get_float32_matmul_precision()


def new_getters() -> set[str]:
    cudnn = torch.backends.cudnn
    return {
        torch.backends.cuda.matmul.fp32_precision,
        cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        cudnn.rnn.fp32_precision,  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("before", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_both_families_of_tf32_switches_agree(before: str, precision: str) -> None:
    """Those of torch >= 2.9, and the older ones that libraries and torch's compiler ask."""
    runtime.configure(CPU, precision=before)
    runtime.configure(CPU, precision=precision)

    allowed = precision == "tf32"
    assert old_getters() == (allowed, allowed, "high" if allowed else "highest")
    assert new_getters() == {"tf32" if allowed else "ieee"}


@pytest.mark.parametrize("place", ["", "mkldnn", "mkldnn.matmul", "mkldnn.conv", "cudnn", "legacy"])
def test_no_run_inherits_a_precision_that_a_plugin_has_set(place: str) -> None:
    runtime.configure(CPU)
    products = [torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv]  # type: ignore[attr-defined]
    before = [torch.backends.fp32_precision, *(product.fp32_precision for product in products)]

    if place == "legacy":
        torch.set_float32_matmul_precision("medium")
    else:
        where = operator.attrgetter(place)(torch.backends) if place else torch.backends
        where.fp32_precision = "tf32" if place == "cudnn" else "bf16"
    runtime.configure(CPU)

    assert old_getters() == (False, False, "highest")
    assert new_getters() == {"ieee"}
    after = [torch.backends.fp32_precision, *(product.fp32_precision for product in products)]
    assert after == before


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)],
)
def test_precision_is_that_of_products(precision: str, dtype: torch.dtype) -> None:
    a = torch.ones(4, 4)
    with runtime.forward_precision(precision, CPU)():
        assert (a @ a).dtype == dtype
    assert (a @ a).dtype == torch.float32


def test_the_precision_context_can_be_made_again_and_again() -> None:
    make = runtime.forward_precision("bf16", CPU)
    for _ in range(3):
        with make():
            assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_precisions_without_effect_are_named() -> None:
    assert runtime.precision_warning("fp32", CPU) is None
    assert "no effect on cpu" in str(runtime.precision_warning("tf32", CPU))


@pytest.mark.parametrize("deterministic", [False, True])
def test_every_cuda_job_chooses_a_repeatable_workspace(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuBLAS reads the variable once: the first job decides for a later deterministic one."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with contextlib.suppress(RuntimeError, AssertionError):  # without a GPU, after the choice
        runtime.configure(torch.device("cuda:0"), deterministic=deterministic)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_cpu_job_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    runtime.configure(CPU, deterministic=True)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_workspace_that_cannot_repeat_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:2:16:8")
    with pytest.raises(UsageError, match="CUBLAS_WORKSPACE_CONFIG=:4096:2:16:8") as caught:
        runtime.configure(torch.device("cuda:0"), deterministic=True)
    assert "unset it, or set it to :4096:8 or :16:8" in str(caught.value)


@pytest.mark.gpu
def test_deterministic_cuda_asks_cublas_for_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    runtime.configure(torch.device("cuda:0"), deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    a = torch.randn(64, 64, device="cuda:0")
    assert torch.equal(a @ a, a @ a)
