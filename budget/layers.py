"""Layer records: what a layer is, what leaves it, and how many weights it has.

Shapes are `(channels, frequency, time)`. Every number may be an int or an int64 array: an array stands for that
number in many networks at once, and the same formulas then count all of them together.

Activations and additions are not recorded: every convention in `budget.conventions` charges nothing for them.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Count: TypeAlias = int | npt.NDArray[np.int64]
Shape: TypeAlias = tuple[Count, Count, Count]


def output_size(size: Count, *, kernel: int, stride: Count, padding: Count, dilation: Count = 1) -> Count:
    """Positions along one axis after a window slides over `size` of them (PyTorch's `Conv2d` formula)."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


class Conv2d(NamedTuple):
    """A square-kernel convolution. `foldable_norm`: the batch norm right behind it can be merged into it."""

    name: str
    input: Shape
    out_channels: Count
    kernel: int
    stride: tuple[Count, Count]
    padding: Count
    dilation: Count
    groups: Count
    bias: bool
    foldable_norm: bool

    @property
    def output(self) -> Shape:
        _, frequency, time = self.input
        kernel, padding, dilation = self.kernel, self.padding, self.dilation
        return (
            self.out_channels,
            output_size(frequency, kernel=kernel, stride=self.stride[0], padding=padding, dilation=dilation),
            output_size(time, kernel=kernel, stride=self.stride[1], padding=padding, dilation=dilation),
        )

    @property
    def weights(self) -> Count:
        """Numbers in the kernel, the bias apart."""
        return self.input[0] // self.groups * self.kernel**2 * self.out_channels


class BatchNorm2d(NamedTuple):
    """Batch norm in evaluation. `foldable`: it follows a convolution directly, so an exporter can merge it."""

    name: str
    input: Shape
    foldable: bool

    @property
    def output(self) -> Shape:
        return self.input


class Pool2d(NamedTuple):
    """A 3x3 average or maximum pool, padding 1. `present` is 0 for the networks of an array that lack it."""

    name: str
    input: Shape
    stride: tuple[Count, Count]
    average: bool
    present: Count = 1

    @property
    def output(self) -> Shape:
        channels, frequency, time = self.input
        return (
            channels,
            output_size(frequency, kernel=3, stride=self.stride[0], padding=1),
            output_size(time, kernel=3, stride=self.stride[1], padding=1),
        )


class GlobalAveragePool(NamedTuple):
    """The mean over frequency and time of each channel."""

    name: str
    input: Shape

    @property
    def output(self) -> Shape:
        return (self.input[0], 1, 1)


Layer: TypeAlias = Conv2d | BatchNorm2d | Pool2d | GlobalAveragePool
