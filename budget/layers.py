"""Layer records: what a layer is, what leaves it, and how many weights it has.

Shapes are `(channels, frequency, time)`. Every number may be an int or an int64 array: an array stands for that
number in many networks at once, and the same formulas then count all of them together.

Activations and additions are not recorded: every convention in `budget.conventions` charges nothing for them.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Count: TypeAlias = int | npt.NDArray[np.int64]
"""A number that describes one network, or an int64 array [networks] of that number in many."""

Shape: TypeAlias = tuple[Count, Count, Count]
"""(channels, frequency, time)."""


class Conv2d(NamedTuple):
    """A convolution with a square kernel, by default 1x1.

    `name` is that of its row in a ledger, `input` the shape that enters, `kernel` the kernel's side, `stride`
    (frequency, time); the other fields mean what they do in `torch.nn.Conv2d`, along both axes. `foldable_norm`: a
    batch norm follows directly, and can be merged into it.
    """

    name: str
    input: Shape
    out_channels: Count
    kernel: int = 1
    stride: tuple[Count, Count] = (1, 1)
    padding: Count = 0
    dilation: Count = 1
    groups: Count = 1
    bias: bool = False
    foldable_norm: bool = False

    @property
    def output(self) -> Shape:
        """The shape of the output, by PyTorch's formula: as many positions as the kernel has in the padded input."""
        _, frequency, time = self.input
        reach = 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        return self.out_channels, (frequency + reach) // self.stride[0] + 1, (time + reach) // self.stride[1] + 1  # type: ignore[return-value]  # numpy widens

    @property
    def weights(self) -> Count:
        """The number of weights in the kernel, without the bias."""
        return self.input[0] // self.groups * self.kernel**2 * self.out_channels


class BatchNorm2d(NamedTuple):
    """Batch norm in evaluation mode.

    `name` is that of its row in a ledger, `input` the shape that enters. `foldable`: it follows a convolution directly,
    so an exporter can merge it.
    """

    name: str
    input: Shape
    foldable: bool

    @property
    def output(self) -> Shape:
        """The shape of the output: that of the input."""
        return self.input


class Pool2d(NamedTuple):
    """A 3x3 pool with padding 1: average, or maximum where `average` is false.

    `name` is that of its row in a ledger, `input` the shape that enters, `stride` (frequency, time). Where the numbers
    are arrays, `present` is 0 for the networks that lack the pool and 1 for the others.
    """

    name: str
    input: Shape
    stride: tuple[Count, Count]
    average: bool
    present: Count = 1

    @property
    def output(self) -> Shape:
        """The shape of the output: each axis halved, rounded up, where the stride is 2."""
        channels, frequency, time = self.input
        return channels, (frequency - 1) // self.stride[0] + 1, (time - 1) // self.stride[1] + 1


class GlobalAveragePool(NamedTuple):
    """The mean of each channel over frequency and time. `name` is that of its row, `input` the shape that enters."""

    name: str
    input: Shape

    @property
    def output(self) -> Shape:
        """The shape of the output: one value per channel."""
        return (self.input[0], 1, 1)


class GlobalResponseNorm(NamedTuple):
    """ConvNeXt V2's global response normalisation (arXiv 2301.00808), which competes between channels.

    It has two parameters for each channel, a scale and a shift. The challenge's conventions charge one MAC for each
    parameter, as for a batch norm, all others nothing; no convention counts its square roots, sums and products at each
    element. `name` is that of its row in a ledger, `input` the shape that enters.
    """

    name: str
    input: Shape

    @property
    def output(self) -> Shape:
        """The shape of the output: that of the input."""
        return self.input


Layer: TypeAlias = Conv2d | BatchNorm2d | Pool2d | GlobalAveragePool | GlobalResponseNorm
"""Any layer that the conventions know."""
