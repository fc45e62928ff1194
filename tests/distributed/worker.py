"""One of the processes that tests start with torchrun: trains alone and with the others.

    worker.py FILE [commands|hybrid commands] CASE ...

Process 0 writes what it found to 0_FILE, and so on.
"""

import contextlib
import json
import math
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab import data, distributed, models
from cnnlab.config import ModelConfig, choices
from cnnlab.config.schema import parse
from cnnlab.data.augment import build_augment
from cnnlab.data.inputs import Inputs
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stream import Stream
from cnnlab.distributed import ALONE, SCHEMES, DataParallel, GradientSum, Peers, byte_account
from cnnlab.models.summary import summarize
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import dropout_seeder, make_generator
from cnnlab.training.class_weights import WeightedStep
from cnnlab.training.loop import TrainState, fit
from cnnlab.training.losses import build, of_network
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.optimizers import load_optimizer_tensors, optimizer_tensors
from cnnlab.training.steps import SharedUpdate, TrainStep, gradient_norm
from cnnlab.training.weight_average import AveragingStep, WeightAverage
from cnnlab.training.workers import AssembledStep
from tests.data.settings import augment_config, dataset_config
from tests.distributed import commands

NUM_STEPS, SEED, CPU = 10, 5, torch.device("cpu")
TCP_BYTES_ACKED = 120
"""Place of the bytes that were acknowledged in what Linux says of a connection (linux/tcp.h)."""

LENET5 = {"model": "lenet5", "side": 32}
SMALL_ALEXNET = {"side": 64, "num_images": 61, "width": 0.1}
HYBRID = {"scheme": "hybrid", "dropout": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "lenet5": {**LENET5, "num_images": 57},
    "lenet5 in parts": {**LENET5, "num_images": 61, "parts": 3},
    "lenet5 weighted": {**LENET5, "num_images": 61, "parts": 2, "weights": torch.arange(1, 11)},
    "lenet5 hybrid": {**LENET5, **HYBRID, "num_images": 57},
    "lenet5 (8, 3)": {**LENET5, **HYBRID, "num_images": 61, "fc_batch": 3},
    "lenet5 hybrid weighted": {
        **LENET5,
        **HYBRID,
        "num_images": 61,
        "weights": torch.arange(1, 11),
    },
    "alexnet": {"model": "alexnet", "side": 64, "num_images": 61, "head": "single", "dropout": 0.0},
    "alexnet hybrid": {**SMALL_ALEXNET, **HYBRID, "model": "alexnet"},
    "alexnet_2014 hybrid": {**SMALL_ALEXNET, **HYBRID, "model": "alexnet_2014"},
    "alexnet_2014 (8, 3)": {
        **SMALL_ALEXNET,
        **HYBRID,
        "model": "alexnet_2014",
        "fc_batch": 3,
        "dropout_place": "before",
    },
}
"""A global batch of 8. hybrid: against plain training in one process, with its dropout masks.
(8, 3): against one process that simulates two workers."""


def network(settings: dict[str, Any]) -> models.Network:
    plain = choices.alone("model", settings["model"])
    changes = {key: value for key, value in settings.items() if key in plain}
    config = parse(ModelConfig, {**plain, **changes, "name": settings["model"]})
    side = settings["side"]
    return models.build(config, in_channels=3, input_size_pixels=side, num_classes=10, seed=SEED)


def trained(settings: dict[str, Any], peers: Peers) -> Tensor:
    """Return weights, their average, momenta and losses after some steps in float64, as a row."""
    config = dataset_config(
        "synthetic",
        num_train=settings["num_images"],
        num_validation=0,
        image_size_pixels=settings["side"],
        pad_pixels=0,
    )
    store = data.build(config).train
    sampler = BatchSampler(len(store), batch_size=8, seed=SEED)
    stream = Stream(store, sampler, device=CPU, share=peers.share)
    augment = build_augment(augment_config("crop"), mirror_allowed=True)
    scale = Preprocessing(3, settings["side"], 0, torch.full((3,), 127.0), torch.full((3,), 64.0))
    inputs, model = Inputs(augment, scale, SEED), network(settings).double()

    def batches():
        for batch in stream.batches():
            yield inputs(batch).double(), batch.labels

    scheme = scheme_of(settings, model, peers)
    view = scheme.view(model)
    step: Any = train_step(settings, peers, scheme, stream.num_images_at)
    inner = step
    if (weights := settings.get("weights")) is not None:
        labels = (stream.epoch_labels, stream.steps_per_epoch)
        step = WeightedStep(step, weights.double(), *labels)
    if scheme.assembles or "fc_batch" in settings:
        workers = {"assemble": scheme.assemble, "num_workers": 1 if peers.size > 1 else 2}
        step = AssembledStep(step, inner, view, fc_batch=settings.get("fc_batch"), **workers)
    average = WeightAverage(model, 0.9, scheme.view)
    optimizer = torch.optim.SGD(view.parameters(), lr=0.01, momentum=0.9, fused=True)
    for group in optimizer.param_groups:
        group["base_rate"] = 0.01
    state = TrainState(view, optimizer)
    losses: list[float] = []
    fit(
        state,
        batches(),
        AveragingStep(step, average),
        lambda step: 1.0,
        [lambda state, report: losses.append(float(report.loss))],
        NUM_STEPS,
    )
    for each in (model, average.network):
        scheme.gather(each)
    whole_state = scheme.whole_state(optimizer_tensors(optimizer, view))
    load_optimizer_tensors(optimizer, view, scheme.own_state(whole_state))
    momenta = [whole_state[name].flatten() for name in sorted(whole_state)]
    found = [*weights_of(model), *weights_of(average.network), *momenta]
    return torch.cat([*found, torch.tensor(losses, dtype=torch.float64)])


def scheme_of(settings: dict[str, Any], model: models.Network, peers: Peers) -> DataParallel:
    if peers.size == 1:
        return DataParallel(model, overlaps=False)
    overlaps = settings.get("parts", 1) == 1
    return SCHEMES[settings.get("scheme", "data")](model, peers, overlaps=overlaps)


def train_step(
    settings: dict[str, Any], peers: Peers, scheme: DataParallel, num_images_at: Any
) -> TrainStep:
    masks = scheme.masks
    processes = SharedUpdate(
        masks, scheme.sum_gradients, num_images_at, lambda given: scheme.norm(given, gradient_norm)
    )
    return TrainStep(
        of_network(build("cross_entropy", class_weights=settings.get("weights"))),
        NonFiniteGuard(CPU),
        seed_dropout=dropout_seeder(SEED, CPU, masks.rank, masks.size),
        num_parts=settings.get("parts", 1),
        clip_gradient_norm=1.0,
        processes=processes if peers.size > 1 else None,
    )


def exchanged(name: str, peers: Peers) -> dict[str, float]:
    """Return the bytes that this process sends in one update of a scheme: counted, and by formula.

    on_sockets: what the system has sent, heartbeats and headers included.
    """
    settings = {"model": "alexnet_2014", "side": 64, "width": 0.25, "scheme": name}
    model = network(settings)
    layers = [
        (row.role, math.prod(row.output_size), row.num_parameters) for row in summarize(model).rows
    ]
    scheme = scheme_of(settings, model, peers)
    step: Any = train_step(settings, peers, scheme, lambda step: 8 * peers.size)
    view = scheme.view(model)
    if scheme.assembles:
        step = AssembledStep(step, step, view, assemble=scheme.assemble)
    state = TrainState(view, torch.optim.SGD(view.parameters(), lr=0.0, fused=True))
    images, labels = torch.ones(8, 3, 64, 64), torch.zeros(8, dtype=torch.int64)

    formula = getattr(byte_account, {"data": "data_parallel"}.get(name, name))
    expected = formula(byte_account.split_of(layers), peers.size, 8).total
    step(state, images, labels)
    counted, on_sockets = peers.num_bytes, sent_on_sockets()
    step(state, images, labels)
    peers.largest(0)
    return {
        "counted": peers.num_bytes - counted,
        "formula": expected,
        "on_sockets": sent_on_sockets() - on_sockets,
    }


def sent_on_sockets() -> int:
    """Return the bytes that others have received from the open connections of this process."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as connection:
            facts = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
            total += struct.unpack_from("Q", facts, TCP_BYTES_ACKED)[0]
    return total


def gradient_of(peers: Peers, compression: str) -> tuple[Tensor, int]:
    """Return the gradient of a batch of all processes, and the bytes that this one sent for it."""
    model = network(LENET5)
    gradient_sum = GradientSum(peers, compression, overlap_with=model)
    images = torch.rand(4, 3, 32, 32, generator=make_generator(SEED, "images"))
    loss = model(images[peers.share.slice_of(4).rows]).square().sum()
    loss.backward()
    gradient_sum(list(model.parameters()), loss.detach())
    gradients = [p.grad for p in model.parameters()]
    return torch.cat([g.flatten() for g in gradients if g is not None]), gradient_sum.num_bytes


def compressed(peers: Peers) -> dict[str, Any]:
    """Return bytes by kind of compression, and what rounding does to the gradient."""
    (exact, exact_bytes), (rounded, rounded_bytes) = (
        gradient_of(peers, name) for name in ("none", "bf16")
    )
    whole, _ = gradient_of(ALONE, "none")
    same = all(torch.equal(rounded, other) for other in peers.gather(rounded))
    return {
        "num_parameters": len(exact),
        "num_bytes": {"none": exact_bytes, "bf16": rounded_bytes},
        "apart": {name: apart(g, whole) for name, g in (("none", exact), ("bf16", rounded))},
        "same_everywhere": same,
    }


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def listening(pid: int) -> list[str]:
    """Return the addresses a process listens on, as /proc writes them."""
    folder = f"/proc/{pid}/fd"
    descriptors = [f"{folder}/{name}" for name in os.listdir(folder)]
    own = {os.stat(path).st_ino for path in descriptors if os.path.exists(path)}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[9]) in own]


def main() -> None:
    torch.set_num_threads(1)
    file, *asked = sys.argv[1:]
    found: dict[str, Any] = {}
    with distributed.joined(CPU, timeout_seconds=60) as peers:
        for case in [name for name in CASES if name in asked]:
            in_job = trained(CASES[case], peers)
            assert all(torch.equal(in_job, other) for other in peers.gather(in_job))
            if peers.is_first:
                alone = trained(CASES[case], ALONE)
                found[case] = apart(in_job, alone)
                found[f"{case} moved"] = moved(case, alone)
        found["gradients"] = compressed(peers)
        found["exchanged"] = {name: exchanged(name, peers) for name in SCHEMES}
        found["listening"] = peers.gather(listening(os.getpid()))
        found["launcher_listening"] = listening(os.getppid())
        found["largest"] = peers.largest(peers.share.rank)
        found["broadcast"] = peers.broadcast(f"of {peers.share.rank}")
    if "commands" in asked:
        found["commands"] = commands.run()
    if "hybrid commands" in asked:
        found["commands"] = commands.run_hybrid()
    Path(f"{peers.share.rank}_{file}").write_text(json.dumps(found))


def weights_of(model: models.Network) -> list[Tensor]:
    return [parameter.detach().flatten() for parameter in model.parameters()]


def moved(case: str, trained_values: Tensor) -> float:
    """Return how far training took the weights, relative to where they began."""
    before = torch.cat(weights_of(network(CASES[case]).double()))
    return float((trained_values[: len(before)] - before).norm() / before.norm())


if __name__ == "__main__":
    main()
