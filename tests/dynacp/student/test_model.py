"""The network that is built from a description."""

from dataclasses import replace

import pytest
import torch
from architectures import random_architectures
from torch import nn
from torch.nn import functional

from dynacp.student.architecture import BASELINE, POOLED, TABLE1, Architecture, Block
from dynacp.student.layers import layers_of
from dynacp.student.model import DPCPBlock, DynaCP


def test_logits_come_out_one_for_each_class() -> None:
    network = DynaCP(replace(TABLE1, classes=7)).eval()
    assert network(torch.randn(3, 1, 256, 89)).shape == (3, 7)


@pytest.mark.parametrize("architecture", [TABLE1, BASELINE, *random_architectures(12, seed=5)], ids=lambda a: a.key)
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


def test_the_same_seed_builds_the_same_network() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(DynaCP(TABLE1).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_every_parameter_gets_a_gradient() -> None:
    for architecture in (TABLE1, BASELINE, *random_architectures(6, seed=6)):
        network = DynaCP(architecture)
        network(torch.randn(2, 1, *architecture.input)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
