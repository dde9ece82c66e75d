"""Dilated depthwise convolution with gradients that are as fast as without dilation.

On a CPU, PyTorch leaves the backward pass of a dilated depthwise convolution to a generic implementation: six to
thirty times the time of the undilated one, and more than half of a whole training step of Table 1
(benchmarks/training.py). It is a short loop over channels, though, which are contiguous in the channels-last layout.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dynacp.compiled import compiled

TAPS = 3
"""Taps of a kernel along each axis."""

FloatArray = npt.NDArray[Any]
"""A numpy array of floats."""


@contextmanager
def fast_gradients(network: nn.Module) -> Iterator[None]:
    """A context in which the network's dilated depthwise layers (3x3, padded by their dilation) have fast gradients.

    They compute the same as before, with first derivatives alone. Layers on a GPU are left as they are. Do not enter it
    for a network that is in one already.
    """
    dilated = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (TAPS, TAPS)
        and 1 < layer.dilation[0] == layer.dilation[1]
        and layer.padding == layer.dilation
        and layer.groups == layer.in_channels == layer.out_channels
    ]
    for layer in dilated:
        layer.forward = partial(_convolve, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in dilated:
            del layer.forward


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    if x.device.type != "cpu":
        return nn.Conv2d.forward(layer, x)
    return _Dilated.apply(x, layer.weight, layer.bias, layer.stride, layer.dilation[0])


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], dilation: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation, ctx.biased = stride, dilation, bias is not None
        return functional.conv2d(x, weight, bias, stride, dilation, dilation, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = torch.zeros_like(x, memory_format=torch.channels_last)
        inputs, grads, grad_inputs = _channels_last(x), _channels_last(grad), _channels_last(grad_x)
        taps = weight.flatten(1).t().contiguous().numpy()
        grad_taps = np.zeros_like(taps)
        _backward(inputs, taps, grads, ctx.stride, ctx.dilation, grad_inputs, grad_taps)
        grad_weight = torch.from_numpy(grad_taps).t().reshape(weight.shape)
        grad_bias = grad.sum(dim=(0, 2, 3)) if ctx.biased else None
        return grad_x, grad_weight, grad_bias, None, None


def _channels_last(x: Tensor) -> FloatArray:
    """[batch, channels, frequency, time] -> the same memory as an array [batch, frequency, time, channels]."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()


@compiled(fastmath={"contract"})
def _backward(
    x: FloatArray, taps: FloatArray, grad: FloatArray, stride: tuple[int, int], dilation: int,
    grad_x: FloatArray, grad_taps: FloatArray,
) -> None:  # fmt: skip
    """Adds to `grad_x` [batch, frequency, time, channels] and `grad_taps` [taps, channels], from `grad` like `x`."""
    clips, frequencies, times, channels = x.shape
    for clip in range(clips):
        for row in range(grad.shape[1]):
            for column in range(grad.shape[2]):
                for tap in range(TAPS * TAPS):
                    frequency = row * stride[0] + (tap // TAPS - 1) * dilation
                    time = column * stride[1] + (tap % TAPS - 1) * dilation
                    if 0 <= frequency < frequencies and 0 <= time < times:
                        for channel in range(channels):
                            here = grad[clip, row, column, channel]
                            grad_x[clip, frequency, time, channel] += taps[tap, channel] * here
                            grad_taps[tap, channel] += x[clip, frequency, time, channel] * here
