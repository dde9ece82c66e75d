"""Gradients of dilated depthwise convolutions, beside PyTorch's own."""

import platform
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dynacp.architecture import TABLE1
from dynacp.depthwise import convolve
from dynacp.model import DynaCP

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
    ours, theirs = gradients(lambda x: convolve(layer, x), layer, x), gradients(layer, layer, x)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def test_a_network_has_the_gradients_that_pytorch_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 1 has three blocks with dilation 2."""
    torch.manual_seed(0)
    network, x = DynaCP(TABLE1).double(), torch.randn(2, 1, 64, 32, dtype=torch.float64)

    def gradients_of_network() -> list[Tensor]:
        return list(torch.autograd.grad(network(x).square().sum(), list(network.parameters())))

    ours = gradients_of_network()
    monkeypatch.setattr("dynacp.model.convolve", lambda layer, x: layer(x))
    for mine, reference in zip(ours, gradients_of_network(), strict=True):
        torch.testing.assert_close(mine, reference)


def test_evaluation_goes_through_the_layer_itself_so_that_hooks_and_exporters_see_it() -> None:
    layer, seen = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4).eval(), []
    layer.register_forward_hook(lambda *_: seen.append(True))
    convolve(layer, torch.randn(1, 4, 8, 8))
    assert seen == [True]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library here is not glibc")
def test_memory_of_a_training_step_is_used_again_by_the_next_one() -> None:
    """A tensor of 8 MB has 2,000 pages of 4 KB: ten of them are 20,000 page faults where nothing is kept."""
    script = """if True:
        import resource, torch
        from dynacp.memory import keep_freed_memory
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
