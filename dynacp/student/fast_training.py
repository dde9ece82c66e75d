"""A training step on one CPU core that computes the same, to rounding, with fewer passes over memory.

In PyTorch's own operations a batch norm, what is added to it, and the activation each read and write the whole tensor,
forward and backward, and a pool's gradient is first filled with zeros; here each of the two is one operation
(`dynacp.student.passes`). And PyTorch leaves the gradients of a dilated depthwise convolution to a generic
implementation, which takes six to thirty times as long as that of an undilated one. benchmarks/step.py measures what
either brings.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dynacp.student import passes
from dynacp.student.model import DPCPBlock, DynaCP, Pool
from dynacp.student.passes import TAPS, FloatArray

MOST = {nn.ReLU6: 6.0, nn.ReLU: np.inf}
"""The most that each activation gives; the least is 0."""


@contextmanager
def fast_training(network: nn.Module) -> Iterator[None]:
    """A context in which a network's training steps on the CPU are faster.

    In a `DynaCP` the stem and the blocks are, where torch computes on one thread: these passes do not share their work
    among threads, and at two they gain nothing. Dilated depthwise layers (3x3, padded by their dilation) have fast
    gradients in any network. All compute the same as before to rounding, with first derivatives alone. What is on a
    GPU or in evaluation mode is left as it is. Do not enter it for a network that is in one already.
    """
    replaced: list[tuple[nn.Module, Callable[..., Tensor]]] = []
    for module in network.modules():
        if isinstance(module, DynaCP):
            replaced.append((module.stem, _stem))
        elif isinstance(module, DPCPBlock):
            replaced.append((module, _block))
        elif isinstance(module, nn.Conv2d) and _is_dilated_depthwise(module):
            replaced.append((module, _dilated))
    for module, forward in replaced:
        module.forward = partial(forward, module)
    try:
        yield
    finally:
        for module, _ in replaced:
            del module.forward


def _is_dilated_depthwise(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (TAPS, TAPS)
        and 1 < layer.dilation[0] == layer.dilation[1]
        and layer.padding == layer.dilation
        and layer.groups == layer.in_channels == layer.out_channels
    )


def _fused(module: nn.Module, x: Tensor) -> bool:
    return module.training and x.device.type == "cpu" and torch.get_num_threads() == 1


def _stem(stem: nn.Sequential, x: Tensor) -> Tensor:
    if not _fused(stem, x):
        return nn.Sequential.forward(stem, x)
    for conv, norm, activation in zip(*[iter(stem)] * 3, strict=True):
        x = _normed(norm, activation, conv(x))
    return x


def _block(block: DPCPBlock, x: Tensor) -> Tensor:
    if not _fused(block, x):
        return DPCPBlock.forward(block, x)
    expanded = _normed(block.expand_norm, block.activation, block.expand(x))
    branch = _depthwise(block.depthwise, expanded, block.pool, together=block.norm_after_sum)
    merged = _normed(block.depthwise_norm, block.activation, *branch)
    added = None if block.shortcut is None else x
    if isinstance(block.shortcut, Pool):
        added = _Pool.apply(x, block.shortcut)
    projected = _normed(block.project_norm, block.activation, block.project(merged), added)
    return projected if block.response is None else block.response(projected)


def _dilated(layer: nn.Conv2d, x: Tensor) -> Tensor:
    if not layer.training or x.device.type != "cpu":
        return nn.Conv2d.forward(layer, x)
    return _depthwise(layer, x)[0]


def _depthwise(layer: nn.Conv2d, x: Tensor, pool: Pool | None = None, *, together: bool = False) -> tuple[Tensor, ...]:
    """What a depthwise layer makes of `x`, and what a pool does if one is given: `together` their sum alone."""
    return _Depthwise.apply(x, layer.weight, layer.bias, layer.stride, layer.dilation[0], pool, together)


_quiet = np.errstate(over="ignore", invalid="ignore")
"""What diverges comes to infinity without a warning, as in PyTorch."""


@_quiet
def _normed(norm: nn.BatchNorm2d, activation: nn.Module, x: Tensor, added: Tensor | None = None) -> Tensor:
    """activation(norm(x) + added) in training mode; nothing is added for None."""
    mean, variance = _moments(x.detach())
    number = x.numel() // x.shape[1]
    remembered = ((norm.running_mean, mean), (norm.running_var, variance * number / (number - 1)))
    with torch.no_grad():
        for running, value in remembered:
            assert running is not None and norm.momentum is not None
            running.lerp_(torch.from_numpy(value).to(running.dtype), norm.momentum)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    return _Normed.apply(x, added, norm.weight, norm.bias, mean, variance + norm.eps, MOST[type(activation)])


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], dilation: int,
        pool: Pool | None, together: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        x = x.contiguous(memory_format=torch.channels_last)
        branch = functional.conv2d(x, weight, bias, stride, dilation, dilation, groups=len(weight))
        branch = branch.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation, ctx.biased, ctx.pool = stride, dilation, bias is not None, pool
        if pool is None:
            return (branch,)
        pooled = branch if together else torch.zeros_like(branch)
        ctx.taken = _add_pool(pool, x, pooled)
        return (branch,) if together else (branch, pooled)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_pooled: Tensor | None = None) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if ctx.dilation == 1:  # oneDNN's own are as fast
            grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, ctx.stride, (1, 1), (1, 1), False, (0, 0), len(weight), (True, True, False)
            )
            grad_x = grad_x.contiguous(memory_format=torch.channels_last)
        else:
            grad_x, taps = torch.empty_like(x), weight.flatten(1).t().contiguous().numpy()
            grad_taps = np.zeros_like(taps)
            arrays = _array(x), taps, _array(grad)
            passes.depthwise_gradient(*arrays, ctx.stride, ctx.dilation, _array(grad_x), grad_taps)
            grad_weight = torch.from_numpy(grad_taps).t().reshape(weight.shape)
        if ctx.pool is not None:
            _add_pool_gradient(ctx.pool, grad if grad_pooled is None else grad_pooled, ctx.taken, grad_x)
        grad_bias = grad.sum(dim=(0, 2, 3)) if ctx.biased else None
        return grad_x, grad_weight, grad_bias, None, None, None, None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Pool) -> Tensor:
        ctx.pool, ctx.shape = pool, x.shape
        down, along = pool.stride  # type: ignore[misc]
        y = torch.zeros_like(x[:, :, ::down, ::along], memory_format=torch.channels_last)
        ctx.taken = _add_pool(pool, x, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_x = torch.zeros(ctx.shape, dtype=grad.dtype).contiguous(memory_format=torch.channels_last)
        _add_pool_gradient(ctx.pool, grad, ctx.taken, grad_x)
        return grad_x, None


def _add_pool(pool: Pool, x: Tensor, y: Tensor) -> npt.NDArray[np.uint8] | None:
    """Add what a pool makes of `x` to `y`; returns what a maximum pool has taken."""
    if isinstance(pool, nn.AvgPool2d):
        passes.add_average_pool(_array(x), pool.stride, _array(y))
        return None
    taken = np.empty(_array(y).shape, np.uint8)
    passes.add_maximum_pool(_array(x), pool.stride, _array(y), taken)
    return taken


def _add_pool_gradient(pool: Pool, grad: Tensor, taken: npt.NDArray[np.uint8] | None, grad_x: Tensor) -> None:
    if taken is None:
        passes.add_average_pool_gradient(_array(grad), pool.stride, _array(grad_x))
    else:
        passes.add_maximum_pool_gradient(_array(grad), taken, pool.stride, _array(grad_x))


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, mean: FloatArray,
        variance: FloatArray, most: float,
    ) -> Tensor:  # fmt: skip
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, added)
        ctx.mean, ctx.variance, ctx.scale = mean, variance, weight.numpy() / np.sqrt(variance)
        ctx.shift, ctx.most = bias.numpy() - mean * ctx.scale, most
        y = torch.empty_like(x)
        passes.scale_and_clip(*_clipped(ctx, x, added), _tiled(y))
        return y

    @staticmethod
    @once_differentiable
    @_quiet
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, added = ctx.saved_tensors
        grads, clipped, channels = _tiled(grad), _clipped(ctx, x, added), x.shape[1]
        number, origin = x.numel() // channels, _repeated(ctx.mean, grads)
        sums, products = np.zeros((2, len(origin)))
        passes.add_gradient_moments(grads, *clipped, origin, sums, products)
        sums, products = _by_channel(sums, channels), _by_channel(products, channels)
        constant = _repeated(-ctx.scale * sums / number, grads)
        slope = _repeated(-ctx.scale * products / (number * ctx.variance), grads)
        grad_x, grad_added = torch.empty_like(x), None if added is None else torch.empty_like(x)
        left = None if grad_added is None else _tiled(grad_added)
        passes.scaled_gradient(grads, *clipped, origin, constant, slope, _tiled(grad_x), left)
        grad_weight, grad_bias = (
            torch.from_numpy(each).to(x.dtype) for each in (products / np.sqrt(ctx.variance), sums)
        )
        return grad_x, grad_added, grad_weight, grad_bias, None, None, None


def _clipped(ctx: Any, x: Tensor, added: Tensor | None) -> tuple[Any, ...]:
    """What `passes.scale_and_clip` and its gradients take in common."""
    points = _tiled(x)
    scale, shift = _repeated(ctx.scale, points), _repeated(ctx.shift, points)
    return points, scale, shift, None if added is None else _tiled(added), points.dtype.type(ctx.most)


def _moments(x: Tensor) -> tuple[FloatArray, FloatArray]:
    """The mean and the variance of each channel, float64 [channels], of [batch, channels, frequency, time]."""
    points, channels = _tiled(x), x.shape[1]
    origin = np.resize(points[0, :channels], points.shape[1])  # without it, large means would hide small variances
    sums, squares = np.zeros((2, len(origin)))
    passes.add_moments(points, origin, sums, squares)
    mean, square = (_by_channel(each, channels) * channels / points.size for each in (sums, squares))
    return origin[:channels] + mean, square - mean**2


def _by_channel(sums: FloatArray, channels: int) -> FloatArray:
    """Sums [columns] of tiled points as sums [channels]."""
    return sums.reshape(-1, channels).sum(0)


def _repeated(values: FloatArray, points: FloatArray) -> FloatArray:
    """Values [channels] as a vector [columns] for tiled points."""
    return np.resize(values.astype(points.dtype), points.shape[1])


def _tiled(x: Tensor) -> FloatArray:
    """The memory of [batch, channels, frequency, time] as tiled points."""
    return passes.tiled(_array(x))


def _array(x: Tensor) -> FloatArray:
    """[batch, channels, frequency, time] -> an array [batch, frequency, time, channels], in place if channels-last."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()
