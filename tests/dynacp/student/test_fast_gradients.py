"""Gradients of dilated depthwise convolutions, beside PyTorch's own."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dynacp.student.architecture import TABLE1
from dynacp.student.fast_gradients import fast_gradients
from dynacp.student.model import DynaCP

STRIDES = st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)])


def gradients(run: object, layer: nn.Conv2d, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    output = run(x)  # type: ignore[operator]
    weights = torch.randn(output.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    return [output, *torch.autograd.grad(output, [x, *layer.parameters()], weights)]


@settings(deadline=None)  # the first call compiles
@given(
    stride=STRIDES, dilation=st.integers(2, 4), channels=st.integers(1, 9), batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)), bias=st.booleans(), channels_last=st.booleans(),
)  # fmt: skip
def test_output_and_every_gradient_equal_pytorchs_own(
    stride: tuple[int, int],
    dilation: int,
    channels: int,
    batch: int,
    size: tuple[int, int],
    bias: bool,
    channels_last: bool,
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups=channels, bias=bias).double()
    x = torch.randn(batch, channels, *size, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with fast_gradients(layer):
        ours = gradients(layer, layer, x)
    theirs = gradients(layer, layer, x)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def test_a_network_has_the_gradients_that_pytorch_gives_it() -> None:
    """Table 1 has three blocks with dilation 2."""
    torch.manual_seed(0)
    network, x, own = DynaCP(TABLE1).double(), torch.randn(2, 1, 64, 32, dtype=torch.float64), set[str]()

    def gradients_of_network() -> list[Tensor]:
        loss = network(x).square().sum()
        own.update(_names(loss.grad_fn))
        return list(torch.autograd.grad(loss, list(network.parameters())))

    theirs = gradients_of_network()
    assert "_DilatedBackward" not in own
    with fast_gradients(network):
        ours = gradients_of_network()
    assert "_DilatedBackward" in own
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def _names(function: Any) -> Iterator[str]:
    """Of all that a gradient goes through."""
    waiting, seen = [function], set[Any]()
    while waiting:
        if (each := waiting.pop()) and each not in seen:
            seen.add(each)
            yield each.name()
            waiting += [before for before, _ in each.next_functions]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library here is not glibc")
def test_memory_of_a_training_step_is_used_again_by_the_next_one() -> None:
    """A tensor of 8 MB has 2,000 pages of 4 KB: ten of them are 20,000 page faults where nothing is kept."""
    script = """if True:
        import resource, torch
        from dynacp.training.malloc import keep_freed_memory
        keep_freed_memory()

        def faults_of_ten():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                torch.ones(2_000_000)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        faults_of_ten()
        print(faults_of_ten())
    """
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 500
