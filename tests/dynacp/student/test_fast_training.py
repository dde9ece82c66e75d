"""Training steps with fewer passes, beside PyTorch's own operations."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dynacp.student.architecture import TABLE1, Architecture, Block
from dynacp.student.fast_training import fast_training
from dynacp.student.model import DynaCP

LAYOUTS = [torch.contiguous_format, torch.channels_last]
SEEDS = st.integers(0, 2**31)
STRIDES = st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Two blocks behind a stem: one that may change the channels, and one with a shortcut."""
    few, dilations, out = st.integers(1, 9), st.integers(1, 3), draw(st.integers(1, 9))
    family, stride = draw(st.sampled_from(["dpcp", "cp"])), draw(STRIDES)
    shortcut = 2 if stride == (1, 1) else 3
    return Architecture(
        blocks=(
            Block(draw(few), out, draw(dilations), 1, draw(STRIDES)),
            Block(draw(few), out, draw(dilations), shortcut, stride),
        ),
        input=(draw(st.integers(4, 40)), draw(st.integers(4, 40))),
        classes=2,
        stem=(draw(few), draw(few)),
        family=family,
        activation=draw(st.sampled_from(["relu6", "relu"])),
        pool=draw(st.sampled_from(["average", "maximum"])),
        norm="depthwise" if family == "cp" else draw(st.sampled_from(["sum", "depthwise"])),
        response=draw(st.sampled_from(["none", "global"])),
    )


def step(network: DynaCP, x: Tensor, *, fast: bool) -> dict[str, Tensor]:
    """What a training step of a copy gives: logits, all gradients, and what batch norms remember."""
    network, x = deepcopy(network), x.clone().requires_grad_()
    with fast_training(network) if fast else nullcontext():
        logits = network(x)
        weights = torch.randn(logits.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
        names, parameters = zip(*network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(logits, [x, *parameters], weights)
    given = dict(zip(("logits", "input", *names), (logits, *gradients), strict=True))
    return {**given, **{name: buffer.clone() for name, buffer in network.named_buffers()}}


def random_network(architecture: Architecture) -> DynaCP:
    """With norms and biases that do something, and norms that do not magnify what is rounded where little varies."""
    network = DynaCP(architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.5
    for parameter in network.parameters():
        if parameter.ndim != 4:
            nn.init.normal_(parameter, mean=0.5)
    return network


@given(architecture=architectures(), batch=st.integers(2, 5), seed=SEEDS, layout=st.sampled_from(LAYOUTS))
def test_every_network_has_the_step_that_pytorch_gives_it(
    architecture: Architecture, batch: int, seed: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(seed)
    network = random_network(architecture).double().to(memory_format=layout)  # type: ignore[call-overload]
    x = torch.randn(batch, 1, *architecture.input, dtype=torch.float64)
    theirs = step(network, x, fast=False)
    for name, value in step(network, x, fast=True).items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-9, msg=partial("{}: {}".format, name))


@pytest.mark.parametrize("changed", [{}, {"pool": "maximum", "norm": "depthwise"}])
def test_single_precision_is_no_further_from_the_truth_than_pytorch_is(changed: dict[str, str]) -> None:
    torch.manual_seed(0)
    network, x = random_network(replace(TABLE1, **changed)), torch.randn(4, 1, 256, 89)  # type: ignore[arg-type]
    truth = step(deepcopy(network).double(), x.double(), fast=False)

    def error(values: dict[str, Tensor]) -> float:
        """The root mean square of all tensors' errors, each as a share of its tensor's norm."""
        tensors = {name: true for name, true in truth.items() if true.ndim and true.any()}
        shares = [(values[name] - true).norm() / true.norm() for name, true in tensors.items()]
        return torch.stack(shares).square().mean().sqrt().item()

    assert error(step(network, x, fast=True)) < 1.5 * error(step(network, x, fast=False))


@pytest.mark.parametrize("pool", ["average", "maximum"])
def test_a_number_that_is_none_is_not_hidden(pool: str) -> None:
    network, x = DynaCP(replace(TABLE1, pool=pool, input=(32, 32))), torch.randn(2, 1, 32, 32)
    x[0, 0, 5, 5] = torch.nan
    with fast_training(network):
        assert network(x).isnan().all()


@pytest.mark.parametrize(("threads", "training"), [(1, False), (2, True)])
def test_evaluation_and_more_threads_take_pytorchs_own_passes(threads: int, training: bool) -> None:
    torch.set_num_threads(threads)
    network = DynaCP(replace(TABLE1, input=(32, 32))).train(training)
    with fast_training(network):
        names = set(_names(network(torch.randn(2, 1, 32, 32)).sum().grad_fn))
    assert "NativeBatchNormBackward0" in names and "_NormedBackward" not in names
    assert ("_DepthwiseBackward" in names) == training, "dilated layers of a training have their gradients"


def test_a_network_is_as_it_was_behind_the_context() -> None:
    network = DynaCP(replace(TABLE1, input=(32, 32)))
    with fast_training(network):
        pass
    names = set(_names(network(torch.randn(2, 1, 32, 32)).sum().grad_fn))
    assert not {"_NormedBackward", "_DepthwiseBackward", "_PoolBackward"} & names


def test_dilated_layers_of_any_network_have_their_gradients() -> None:
    layer = nn.Conv2d(6, 6, 3, (2, 1), 2, 2, groups=6).double()
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64, requires_grad=True)
    theirs = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    with fast_training(nn.Sequential(layer)):
        output = layer(x)
        assert "_DepthwiseBackward" in set(_names(output.grad_fn))
        ours = torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])
    torch.testing.assert_close(ours, theirs)


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
