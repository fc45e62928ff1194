"""Every model on a CUDA device, in float32 and bf16."""

import pytest
import torch
import torch.nn.functional as F

from cnnlab.config.models import MODELS

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_forward_backward_and_one_step_run(build, name, dtype):
    changes = {"size": 64, "classes": 10} if name.startswith(("alexnet", "zfnet")) else {}
    if name == "alexnet_two_gpu":
        changes["devices"] = ["cuda:0", "cuda:0"]
    network = build(name, **changes).to("cuda")
    side = network.input_size_pixels
    images = torch.randn(8, network.in_channels, side, side, device="cuda")
    labels = torch.arange(8, device="cuda") % network.num_classes
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        scores = network(images)
    loss = F.cross_entropy(scores.float(), labels)
    loss.backward()
    torch.optim.SGD(network.parameters(), 1e-4).step()
    assert loss.isfinite()
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_normalization_on_the_device_equals_that_on_the_cpu(build):
    network = build("alexnet_two_tower", size=64, classes=10)
    maps = 40 * torch.randn(2, 96, 14, 14)
    here, there = maps.clone().requires_grad_(), maps.cuda().requires_grad_()
    network.norm1(here).square().sum().backward()
    network.norm1.cuda()(there).square().sum().backward()
    apart = (there.grad.cpu() - here.grad).norm() / here.grad.norm()
    assert apart < 1e-5
