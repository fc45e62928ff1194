"""Every operation on a pretended device: computed on the CPU, recorded as on a real one."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.pretended.graphs import Drawing
from tests.pretended.record import BLOCKING_COPY, COPY, KERNEL, MIX, WAIT, Record
from tests.pretended.tensor import CPU, META, CudaTensor, home_of, whole

_COPIES = ("_to_copy", "copy_")
_INDEXES = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
_ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
_NO_KERNEL = (*_ALLOCATIONS, "lift_fresh", "detach", "alias")
_WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@cache
def _is_composite(func: Any) -> bool:
    """Return whether it is made of other operations, which inference mode leaves to the callee."""
    return bool(func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd))


@cache
def _launches(func: Any) -> bool:
    """Return whether the operation computes; views and allocations do not."""
    return not func.is_view and _name(func) not in _NO_KERNEL


@cache
def _name(func: Any) -> str:
    return str(func._schema.name).removeprefix("aten::")


class Machine(TorchDispatchMode):
    """Runs every operation of a thread on pretended devices on the CPU, and records it.

    generators: the random numbers of each device, drawn on the CPU.
    """

    def __init__(self, record: Record, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.record, self.generators = record, generators

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        pretended = [tensor for tensor in tensors if isinstance(tensor, CudaTensor)]
        on_host = [tensor for tensor in tensors if not isinstance(tensor, CudaTensor)]

        if _launches(func):
            self.record.touched(_name(func), on_host)
            if self.record.is_reading:
                self.record.written(_name(func), _written(func, args, kwargs))
        if not pretended and not _is_cuda(kwargs.get("device")):
            return func(*args, **kwargs)
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)

        if _name(func) in _COPIES:
            return self._copy(func, args, kwargs)
        return self._compute(func, args, kwargs, pretended, on_host)

    def _compute(
        self,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        pretended: list[CudaTensor],
        on_host: list[Tensor],
    ) -> Any:
        """Run an operation on one device."""
        home = self._home(func, args, kwargs, pretended, on_host)
        if _launches(func):
            self._note_launch(func, home, _indices(func, args))
        if "device" in kwargs:
            kwargs["device"] = CPU
        drawing: Drawing = contextlib.nullcontext
        if torch.Tag.nondeterministic_seeded in func.tags:
            drawing = partial(self._drawing_on, home, kwargs.get("generator"))
        return self._run(func, args, kwargs, home, drawing)

    def _home(
        self,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        pretended: list[CudaTensor],
        on_host: list[Tensor],
    ) -> torch.device:
        """Return the device of the result; raise RuntimeError for operands on several devices."""
        homes = {tensor.home for tensor in pretended}
        # a number may come from the host, except into a list; so may indices
        fewest_dims = 0 if _name(func) in ("cat", "stack") else 1
        may_differ = _indices(func, args) if args and isinstance(args[0], CudaTensor) else []
        elsewhere = {
            tensor.device
            for tensor in on_host
            if tensor.is_meta  # which has lost its value
            or (tensor.dim() >= fewest_dims and not any(tensor is index for index in may_differ))
        }

        if len(homes) > 1 or (homes and elsewhere):
            self.record.add(MIX, _name(func), ", ".join(sorted(map(str, homes | elsewhere))))
            raise RuntimeError(f"expected all tensors on one device: {self.record.events[-1]}")

        # new_zeros and the like name the device of their tensor, which to C++ is the meta device
        wanted = kwargs.get("device")
        return whole(wanted) if _is_cuda(wanted) else next(iter(homes))

    def _note_launch(self, func: Any, home: torch.device, indices: list[Tensor]) -> None:
        """Record the operation, a wait where the shape or the value of its result needs one."""
        waits = any(tag in func.tags for tag in _WAITS)
        if _name(func) in _INDEXES:
            waits = any(t.dtype == torch.bool for t in indices if isinstance(t, CudaTensor))
            if not all(isinstance(t, CudaTensor) for t in indices):
                self.record.add(BLOCKING_COPY, _name(func), "indices from the host")
                self.record.waited_for(home)

        self.record.add(WAIT if waits else KERNEL, _name(func))
        if waits:
            self.record.waited_for(home)

    @contextlib.contextmanager
    def _drawing_on(self, home: torch.device, given: torch.Generator | None) -> Iterator[None]:
        """Let a random operation draw from the generator of its device."""
        if given is not None and all(given is not known for known in self.generators):
            raise RuntimeError("expected a generator of the device, found one of the CPU")
        own, of_cpu = self.generators[home.index], torch.default_generator
        before = of_cpu.get_state()
        of_cpu.set_state(own.get_state())
        try:
            yield
            own.set_state(of_cpu.get_state())
        finally:
            of_cpu.set_state(before)

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Copy within a device, or from one to another."""
        if _name(func) == "copy_":
            source, home = args[1], home_of(args[0])
            blocks = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        else:
            source, asked = args[0], kwargs.pop("device", None)
            home = home_of(source) if asked is None or asked == META else whole(asked)
            blocks = not kwargs.pop("non_blocking", False)
            kwargs.pop("pin_memory", None)

        origin = home_of(source)
        blocks = blocks or (origin == CPU and not self.record.is_pinned(source))
        self._note_copy(func, origin, home, blocks, _num_bytes(source))
        if origin == CPU != home and not blocks:
            self.record.read_later(source, home)
        result = self._run(func, args, kwargs, home)
        if origin != CPU and home == CPU and not blocks:
            self.record.fill_later(result, origin)
        return result

    def _note_copy(
        self, func: Any, origin: torch.device, home: torch.device, blocks: bool, num_bytes: int
    ) -> None:
        if origin == home:
            self.record.add(KERNEL, _name(func))
            return

        # one device's copy to another is queued on both; the host continues in any case
        blocks = blocks and CPU in (origin, home)
        kind = BLOCKING_COPY if blocks else COPY
        self.record.add(kind, _name(func), f"{origin} -> {home}, {num_bytes} bytes")
        if blocks:
            self.record.waited_for(origin if origin != CPU else home)

    def _run(
        self,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        home: torch.device,
        drawing: Drawing = contextlib.nullcontext,
    ) -> Any:
        """Run the operation on the values; what it returns is on `home`."""
        known: dict[int, Tensor] = {}

        def values_of(leaf: Any) -> Any:
            values = leaf.values if isinstance(leaf, CudaTensor) else leaf
            if isinstance(leaf, Tensor):
                known[id(values)] = leaf
            return values

        def on_home(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if id(leaf) in known:  # written in place
                return known[id(leaf)]
            return leaf if home == CPU else _pretending(leaf, home)

        args, kwargs = tree_map(values_of, (args, kwargs))

        def compute() -> Any:
            with drawing():
                return func(*args, **kwargs)

        graph = self.record.graph()
        if graph is None or func.is_view:
            return tree_map(on_home, compute())
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        return tree_map(on_home, graph.add(compute, inputs, _written(func, args, kwargs)))


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the host tensors that an operation writes to."""
    by_position = dict(zip((a.name for a in func._schema.arguments), args, strict=False))
    found: list[Tensor] = []
    for name in _writes(func):
        leaves = tree_leaves((by_position | kwargs).get(name))
        found += [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, CudaTensor)]
    return found


@cache
def _writes(func: Any) -> tuple[str, ...]:
    """Return the names of the arguments that an operation writes to."""
    arguments = func._schema.arguments
    return tuple(a.name for a in arguments if a.alias_info and a.alias_info.is_write)


def _indices(func: Any, args: Any) -> list[Tensor]:
    """Return the tensors that index another one, if that is what the operation does."""
    return [t for t in args[1] if t is not None] if _name(func) in _INDEXES else []


def _pretending(values: Tensor, home: torch.device) -> CudaTensor:
    """Return a tensor of `home`; a view of one from before inference mode is as ordinary as it."""
    if not torch.is_inference_mode_enabled() or values.is_inference():
        return CudaTensor(values, home)
    with torch.inference_mode(False):
        return CudaTensor(values, home)


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
