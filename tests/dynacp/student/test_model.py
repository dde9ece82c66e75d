"""The network that is built from a description."""

from dataclasses import replace

import pytest
import torch
from architectures import random_architectures
from torch import nn
from torch.nn import functional

from dynacp.student.architecture import BASELINE, POOLED, TABLE1, Architecture, Block
from dynacp.student.layers import layers_of
from dynacp.student.model import DPCPBlock, DynaCP, GlobalResponseNorm


def test_logits_come_out_one_for_each_class() -> None:
    network = DynaCP(replace(TABLE1, classes=7)).eval()
    assert network(torch.randn(3, 1, 256, 89)).shape == (3, 7)


@pytest.mark.parametrize(
    "architecture",
    [TABLE1, BASELINE, replace(TABLE1, response="global"), *random_architectures(12, seed=5)],
    ids=lambda a: a.key,
)
def test_the_shapes_that_flow_are_those_of_the_ledger(architecture: Architecture) -> None:
    network, seen = DynaCP(architecture).eval(), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: tuple(output.shape[1:])}))
    network(torch.zeros(1, 1, *architecture.input))
    for layer in layers_of(architecture):
        assert seen[layer.name] == layer.output, layer.name


@pytest.mark.parametrize("norm", ["sum", "depthwise"])
def test_a_block_computes_what_the_report_draws(norm: str) -> None:
    """Written out with functional calls: expand, D beside P, norm, project, pooled shortcut."""
    torch.manual_seed(0)
    frame = replace(TABLE1, norm=norm)
    block = DPCPBlock(frame, Block(16, 8, dilation=1, residual=POOLED, stride=(2, 1)), 8)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    block.eval()

    def normed(x: torch.Tensor, module: nn.BatchNorm2d) -> torch.Tensor:
        assert module.running_mean is not None
        assert module.running_var is not None
        return functional.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias, eps=1e-5)

    x = torch.randn(2, 8, 10, 7)
    expanded = functional.relu6(normed(functional.conv2d(x, block.expand.weight), block.expand_norm))
    d = functional.conv2d(expanded, block.depthwise.weight, block.depthwise.bias, (2, 1), 1, 1, groups=16)
    p = functional.avg_pool2d(expanded, 3, (2, 1), 1)
    merged = normed(d + p, block.depthwise_norm) if norm == "sum" else normed(d, block.depthwise_norm) + p
    projected = normed(functional.conv2d(functional.relu6(merged), block.project.weight), block.project_norm)
    wanted = functional.relu6(projected + functional.avg_pool2d(x, 3, (2, 1), 1))
    torch.testing.assert_close(block(x), wanted)


def test_a_global_response_norm_scales_each_channel_by_its_norm_among_all() -> None:
    """Written out with PyTorch's own norm, as in ConvNeXt V2."""
    torch.manual_seed(0)
    layer, x = GlobalResponseNorm(5), torch.randn(2, 5, 7, 3)
    assert torch.equal(layer(x), x), "at first nothing is changed"
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    norms = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
    n = norms / norms.mean(dim=1, keepdim=True)
    torch.testing.assert_close(layer(x), x + layer.weight * (x * n) + layer.bias, rtol=1e-4, atol=1e-5)


def test_a_global_response_norm_bears_silence_and_the_largest_activations_of_float16() -> None:
    layer = GlobalResponseNorm(4)
    nn.init.ones_(layer.weight)
    silent = torch.zeros(1, 4, 8, 8, requires_grad=True)
    layer(silent).sum().backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    loud = torch.full((1, 4, 128, 45), 6.0, dtype=torch.float16)
    assert torch.equal(layer.half()(loud), 2 * loud), "the sum of 5,760 squares is beyond float16"


def test_the_same_seed_builds_the_same_network() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(DynaCP(TABLE1).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_every_parameter_gets_a_gradient() -> None:
    for architecture in (TABLE1, BASELINE, replace(TABLE1, response="global"), *random_architectures(6, seed=6)):
        network = DynaCP(architecture)
        network(torch.randn(2, 1, *architecture.input)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
