"""`runtime.compile=true`: a computation as one graph of fused kernels, made by torch.compile."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from cnnlab.errors import ResourceError, UsageError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(
    compute: Callable[Arguments, Tensor], keeps_others: bool = False
) -> Callable[Arguments, Tensor]:
    """Return the same computation, forward and backward, as one graph per size of its tensors.

    The mathematics is the same, summed in another order; dropout masks are those of eager mode. A
    batch of another size (the last of an epoch) is compiled when it first comes, so that every
    graph has static shapes. Graphs of earlier computations in this process are dropped, unless
    `keeps_others`.
    It never falls back to eager mode: what fails raises torch's errors, here and in `backward`,
    which `explained` translates.
    """
    if not keeps_others:
        torch.compiler.reset()
    options: dict[str, Any] = {"fallback_random": True}
    run: Callable[Arguments, Tensor] = torch.compile(
        compute, fullgraph=True, dynamic=False, options=options
    )
    return run


def explained(update: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the same `update`, in which torch.compile fails with an error of cnnlab.

    update: runs a compiled computation, and its backward pass, which torch compiles when it first
    runs. The result raises UsageError for a network that torch cannot compile into one graph,
    ResourceError where compiling fails, for example without a C++ compiler.
    """
    from torch._dynamo import exc  # takes a second: only for those who compile

    @functools.wraps(update)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return update(*args, **kwargs)
        except exc.BackendCompilerFailed as error:
            raise ResourceError(
                "torch.compile failed",
                _reason(error),
                "a C++ compiler, g++ for example, is needed; runtime.compile=false trains without",
            ) from error
        except (exc.Unsupported, exc.FailOnRecompileLimitHit) as error:
            raise UsageError(
                "torch.compile cannot compile this network into one graph",
                _reason(error),
                "runtime.compile=false trains it",
            ) from error

    return run


def check(network: nn.Module) -> None:
    """Raise UsageError for a layer whose gradients torch.compile is known to get wrong.

    Average pooling of windows that reach over the edge divides by the whole window in the backward
    pass
    (pytorch issue 198119, torch 2.14 and 2.15).
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.AvgPool2d) and module.ceil_mode and module.count_include_pad:
            raise UsageError(
                f"torch.compile computes wrong gradients of the layer {name!r}",
                "nn.AvgPool2d(..., ceil_mode=True)",
                "give it count_include_pad=False, or train with runtime.compile=false",
            )


def _reason(error: Exception) -> str:
    """Return the first line of the message that is not blank."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
