"""Passes over memory that numba compiles: what a training step does besides its dense convolutions, and its gradients.

Arrays are channels-last: [batch, frequency, time, channels], or `tiled` as [rows, columns], where a row is a whole
number of time-frequency points and vectors [columns] repeat a value for each channel. Numbers are of one float type.
Every `add_` adds to what its last arguments hold.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dynacp.compiled import compiled

FloatArray = npt.NDArray[Any]
"""A numpy array of floats."""

TAPS = 3
"""Taps of a kernel, and positions of a pool's window, along each axis."""

ROWS_AT_ONCE = 64
"""Rows that are summed in the arrays' own precision, before they are added to sums in double precision."""

COLUMNS = 512
"""The most columns of a tiled array, if its channels are fewer: enough to keep vector units busy."""

_fast = compiled(fastmath={"contract", "nsz"}, error_model="numpy")


def tiled(x: FloatArray) -> FloatArray:
    """[batch, frequency, time, channels] as [rows, columns] of the same memory, with `COLUMNS` columns or fewer."""
    points, channels = x.size // x.shape[-1], x.shape[-1]
    most = max(1, COLUMNS // channels)
    repeats = next(number for number in range(most, 0, -1) if points % number == 0)
    return x.reshape(-1, repeats * channels)


@_fast
def add_moments(x: FloatArray, origin: FloatArray, sums: FloatArray, squares: FloatArray) -> None:
    """Adds the sums of x - origin and of its squares, [columns], to float64 vectors; `x` is tiled."""
    rows, columns = x.shape
    some, some_squares = np.empty_like(origin), np.empty_like(origin)
    for start in range(0, rows, ROWS_AT_ONCE):
        some[:] = 0
        some_squares[:] = 0
        for row in range(start, min(rows, start + ROWS_AT_ONCE)):
            for column in range(columns):
                value = x[row, column] - origin[column]
                some[column] += value
                some_squares[column] += value * value
        for column in range(columns):
            sums[column] += some[column]
            squares[column] += some_squares[column]


@_fast
def _unclipped(
    x: FloatArray, scale: FloatArray, shift: FloatArray, added: FloatArray | None, row: int, column: int
) -> float:
    """What `scale_and_clip` clips, at one place."""
    value = x[row, column] * scale[column] + shift[column]
    if added is not None:
        value += added[row, column]
    return value


@_fast
def scale_and_clip(
    x: FloatArray, scale: FloatArray, shift: FloatArray, added: FloatArray | None, most: float, y: FloatArray
) -> None:
    """Writes x * scale + shift, and `added` if given, clipped to [0, most], to `y`; all arrays are tiled."""
    (rows, columns), zero = x.shape, x.dtype.type(0)
    for row in range(rows):
        for column in range(columns):
            value = _unclipped(x, scale, shift, added, row, column)
            value = zero if value < zero else value  # in this form, NaN stays NaN
            y[row, column] = most if value > most else value


@_fast
def add_gradient_moments(
    grad: FloatArray, x: FloatArray, scale: FloatArray, shift: FloatArray, added: FloatArray | None, most: float,
    origin: FloatArray, sums: FloatArray, products: FloatArray,
) -> None:  # fmt: skip
    """Adds the sums of g and of g * (x - origin), [columns], to float64 vectors, where g is the gradient `grad` of
    what `scale_and_clip` wrote, and 0 where that was clipped.
    """
    (rows, columns), zero = x.shape, x.dtype.type(0)
    some, some_products = np.empty_like(origin), np.empty_like(origin)
    for start in range(0, rows, ROWS_AT_ONCE):
        some[:] = 0
        some_products[:] = 0
        for row in range(start, min(rows, start + ROWS_AT_ONCE)):
            for column in range(columns):
                value = _unclipped(x, scale, shift, added, row, column)
                g = grad[row, column] if (value > zero) & (value < most) else zero
                some[column] += g
                some_products[column] += g * (x[row, column] - origin[column])
        for column in range(columns):
            sums[column] += some[column]
            products[column] += some_products[column]


@_fast
def scaled_gradient(
    grad: FloatArray, x: FloatArray, scale: FloatArray, shift: FloatArray, added: FloatArray | None, most: float,
    origin: FloatArray, constant: FloatArray, slope: FloatArray, grad_x: FloatArray, grad_added: FloatArray | None,
) -> None:  # fmt: skip
    """Writes g * scale + constant + slope * (x - origin) to `grad_x`, and g to `grad_added` if given: the gradients of
    a batch norm's input and of what is added. g is as in `add_gradient_moments`.
    """
    (rows, columns), zero = x.shape, x.dtype.type(0)
    for row in range(rows):
        for column in range(columns):
            value = _unclipped(x, scale, shift, added, row, column)
            g = grad[row, column] if (value > zero) & (value < most) else zero
            if grad_added is not None:
                grad_added[row, column] = g
            grad_x[row, column] = (
                g * scale[column] + constant[column] + slope[column] * (x[row, column] - origin[column])
            )


@_fast
def add_average_pool(x: FloatArray, stride: tuple[int, int], y: FloatArray) -> None:
    """Adds the means of windows of 3 x 3 around every `stride`th point of `x`; beyond its edges are zeros."""
    clips, frequencies, times, channels = x.shape
    share = x.dtype.type(1 / TAPS**2)
    line = np.zeros((times + 2, channels), x.dtype)  # the sum of three rows, with a column of zeros on either side
    for clip in range(clips):
        for row in range(y.shape[1]):
            line[:] = 0
            for frequency in range(max(0, row * stride[0] - 1), min(frequencies, row * stride[0] + 2)):
                for time in range(times):
                    for channel in range(channels):
                        line[time + 1, channel] += x[clip, frequency, time, channel]
            for column in range(y.shape[2]):
                time = column * stride[1]
                for channel in range(channels):
                    total = line[time, channel] + line[time + 1, channel] + line[time + 2, channel]
                    y[clip, row, column, channel] += share * total


@_fast
def add_average_pool_gradient(grad: FloatArray, stride: tuple[int, int], grad_x: FloatArray) -> None:
    """Adds the gradient of the input of `add_average_pool`, given that of its output."""
    clips, frequencies, times, channels = grad_x.shape
    share = grad.dtype.type(1 / TAPS**2)
    line = np.zeros((times + 2, channels), grad.dtype)
    for clip in range(clips):
        for frequency in range(frequencies):
            line[:] = 0
            for tap in range(TAPS):
                row, beside = divmod(frequency + 1 - tap, stride[0])
                if beside == 0 and 0 <= row < grad.shape[1]:
                    for column in range(grad.shape[2]):
                        time = column * stride[1] + 1
                        for channel in range(channels):
                            line[time, channel] += grad[clip, row, column, channel]
            for time in range(times):
                for channel in range(channels):
                    total = line[time, channel] + line[time + 1, channel] + line[time + 2, channel]
                    grad_x[clip, frequency, time, channel] += share * total


@_fast
def _beats(value: float, best: float) -> bool:
    """Whether a maximum takes a value in place of the best before: NaN stays, once it is taken."""
    return (value > best) | (value != value)


@_fast
def add_maximum_pool(x: FloatArray, stride: tuple[int, int], y: FloatArray, taken: npt.NDArray[np.uint8]) -> None:
    """Adds the maxima of windows of 3 x 3 around every `stride`th point of `x`, and writes which of the nine each was
    to `taken`, like `y`: the first of equal ones.
    """
    clips, frequencies, times, channels = x.shape
    line = np.full((times + 2, channels), -np.inf, x.dtype)  # a row, with a column of -inf on either side
    along = np.full((frequencies + 2, y.shape[2], channels), -np.inf, x.dtype)  # maxima of three columns of each row
    taps = np.zeros(along.shape, np.int32)  # as wide as a float: else AVX2 has no vectors for what mixes both
    one, two, three, six = np.int32(1), np.int32(2), np.int32(TAPS), np.int32(2 * TAPS)
    for clip in range(clips):
        for frequency in range(frequencies):
            for time in range(times):
                for channel in range(channels):
                    line[time + 1, channel] = x[clip, frequency, time, channel]
            for column in range(y.shape[2]):
                time = column * stride[1]
                for channel in range(channels):
                    best, value = line[time, channel], line[time + 1, channel]
                    tap = one if _beats(value, best) else np.int32(0)
                    best, value = value if _beats(value, best) else best, line[time + 2, channel]
                    taps[frequency + 1, column, channel] = two if _beats(value, best) else tap
                    along[frequency + 1, column, channel] = value if _beats(value, best) else best
        for row in range(y.shape[1]):
            frequency = row * stride[0]
            for column in range(y.shape[2]):
                for channel in range(channels):
                    best, value = along[frequency, column, channel], along[frequency + 1, column, channel]
                    tap, other = taps[frequency, column, channel], three + taps[frequency + 1, column, channel]
                    tap = other if _beats(value, best) else tap
                    best, value = value if _beats(value, best) else best, along[frequency + 2, column, channel]
                    other = six + taps[frequency + 2, column, channel]
                    taken[clip, row, column, channel] = np.uint8(other if _beats(value, best) else tap)
                    y[clip, row, column, channel] += value if _beats(value, best) else best


@_fast
def add_maximum_pool_gradient(
    grad: FloatArray, taken: npt.NDArray[np.uint8], stride: tuple[int, int], grad_x: FloatArray
) -> None:
    """Adds the gradient of the input of `add_maximum_pool`, given that of its output and what it took."""
    (clips, frequencies, times, channels), zero = grad_x.shape, grad.dtype.type(0)
    for clip in range(clips):
        for frequency in range(frequencies):
            for tap in range(TAPS**2):
                row, beside = divmod(frequency + 1 - tap // TAPS, stride[0])
                if beside == 0 and 0 <= row < grad.shape[1]:
                    first, last = _columns(tap % TAPS - 1, stride[1], times, grad.shape[2])
                    for column in range(first, last):
                        time, this = column * stride[1] + tap % TAPS - 1, np.uint8(tap)
                        for channel in range(channels):
                            mine = taken[clip, row, column, channel] == this
                            grad_x[clip, frequency, time, channel] += grad[clip, row, column, channel] if mine else zero


@_fast
def _columns(shift: int, stride: int, times: int, columns: int) -> tuple[int, int]:
    """The first of `columns` whose point, column * stride + shift, is in [0, times), and one behind the last."""
    return max(0, -(shift // stride)), min(columns, (times - 1 - shift) // stride + 1)


@_fast
def depthwise_gradient(
    x: FloatArray, taps: FloatArray, grad: FloatArray, stride: tuple[int, int], dilation: int,
    grad_x: FloatArray, grad_taps: FloatArray,
) -> None:  # fmt: skip
    """Writes the gradient of a depthwise convolution's input to `grad_x`, and adds that of its `taps`, [9, channels].

    The convolution is of 3 x 3, padded by its dilation; `grad` is the gradient of its output.
    """
    clips, frequencies, times, channels = x.shape
    for clip in range(clips):
        for frequency in range(frequencies):
            grad_x[clip, frequency] = 0
            for tap in range(TAPS**2):
                row, beside = divmod(frequency - (tap // TAPS - 1) * dilation, stride[0])
                if beside == 0 and 0 <= row < grad.shape[1]:
                    shift = (tap % TAPS - 1) * dilation
                    first, last = _columns(shift, stride[1], times, grad.shape[2])
                    for column in range(first, last):
                        time = column * stride[1] + shift
                        for channel in range(channels):
                            here = grad[clip, row, column, channel]
                            grad_x[clip, frequency, time, channel] += taps[tap, channel] * here
                            grad_taps[tap, channel] += x[clip, frequency, time, channel] * here
