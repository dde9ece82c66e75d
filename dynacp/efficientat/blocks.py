"""What MN and DyMN share: the table of blocks, rounding of widths, a convolution with its norm, the head.

Both are MobileNetV3-Large for audio (EfficientAT: Schmid, Koutini, Widmer, arXiv:2211.04772 and arXiv:2310.15648;
https://github.com/fschmid56/EfficientAT). Module names follow the official checkpoints, key for key.
"""

import math
from dataclasses import dataclass

from torch import nn

from budget.errors import UserError

LAST_HIDDEN = 1280
"""Channels of the head's hidden layer at width 1. At any width they are a multiple of 8, unrounded, so a checkpoint
shows its width there."""


@dataclass(frozen=True, slots=True)
class BlockShape:
    """An inverted residual block: channels `inputs` -> `expanded` -> `outputs`.

    `kernel` is the side of the depthwise kernel, `stride` that of both axes, `activation` the class of activations.
    `squeeze_excite`: whether channels are gated by their means (in MN alone).
    """

    inputs: int
    kernel: int
    expanded: int
    outputs: int
    squeeze_excite: bool
    activation: type[nn.Module]
    stride: int

    @property
    def shortcut(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.inputs == self.outputs


_TABLE = (
    BlockShape(16, 3, 16, 16, False, nn.ReLU, 1),
    BlockShape(16, 3, 64, 24, False, nn.ReLU, 2),
    BlockShape(24, 3, 72, 24, False, nn.ReLU, 1),
    BlockShape(24, 5, 72, 40, True, nn.ReLU, 2),
    BlockShape(40, 5, 120, 40, True, nn.ReLU, 1),
    BlockShape(40, 5, 120, 40, True, nn.ReLU, 1),
    BlockShape(40, 3, 240, 80, False, nn.Hardswish, 2),
    BlockShape(80, 3, 200, 80, False, nn.Hardswish, 1),
    BlockShape(80, 3, 184, 80, False, nn.Hardswish, 1),
    BlockShape(80, 3, 184, 80, False, nn.Hardswish, 1),
    BlockShape(80, 3, 480, 112, True, nn.Hardswish, 1),
    BlockShape(112, 3, 672, 112, True, nn.Hardswish, 1),
    BlockShape(112, 5, 672, 160, True, nn.Hardswish, 2),
    BlockShape(160, 5, 960, 160, True, nn.Hardswish, 1),
    BlockShape(160, 5, 960, 160, True, nn.Hardswish, 1),
)
"""The blocks at width 1 (MobileNetV3-Large, arXiv:1905.02244, table 1)."""


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8; the next one where rounding down would lose more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def scaled_blocks(width: float) -> list[BlockShape]:
    """The fifteen blocks with their channels multiplied by `width`.

    Raises `UserError` unless that is a positive multiple of 1/160: no checkpoint could show another.
    """
    hidden = LAST_HIDDEN * width
    if not (math.isfinite(hidden) and round(hidden) > 0 and math.isclose(hidden, 8 * round(hidden / 8))):
        raise UserError(f"`width` must be a positive multiple of 1/160, as 0.1, 0.4 and 1.0 are, but got {width!r}.")
    return [
        BlockShape(
            rounded(block.inputs * width),
            block.kernel,
            rounded(block.expanded * width),
            rounded(block.outputs * width),
            block.squeeze_excite,
            block.activation,
            block.stride,
        )
        for block in _TABLE
    ]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the published weights' epsilon, and PyTorch's momentum where they were trained with 0.01.

    Momentum 0.01 needs hundreds of steps to forget where the running statistics began: after 120 steps from scratch,
    MN and DyMN of width 0.1 classify at chance in evaluation mode with it, and above with 0.1.
    """
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] = nn.Identity,
) -> nn.Sequential:
    """A convolution, batch norm and activation: [batch, inputs, f, t] -> [batch, outputs, f / stride, t / stride].

    Sizes are rounded up. `kernel` is the side of the square kernel, padded so that stride 1 keeps the size.
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, batch_norm(outputs), activation())


def stem(outputs: int) -> nn.Sequential:
    """The first layer: [batch, 1, mels, frames] -> [batch, outputs, mels / 2, frames / 2], rounded up."""
    return conv_norm(1, outputs, 3, stride=2, activation=nn.Hardswish)


def tail(inputs: int) -> nn.Sequential:
    """The layer behind the last block: [batch, inputs, f, t] -> [batch, 6 * inputs, f, t]."""
    return conv_norm(inputs, 6 * inputs, activation=nn.Hardswish)


def head(channels: int, width: float, classes: int) -> nn.Sequential:
    """The head: [batch, channels, f, t] -> logits [batch, classes]; its first two modules give [batch, channels].

    `width` multiplies the channels of its hidden layer (`LAST_HIDDEN`). Raises `UserError` for `classes` that are no
    positive integer.
    """
    if type(classes) is not int or classes < 1:
        raise UserError(f"`classes` must be a positive integer, but got {classes!r}.")
    hidden = rounded(LAST_HIDDEN * width)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, hidden),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(hidden, classes),
    )


def initialise(module: nn.Module) -> None:
    """Draw one convolution's or linear layer's own weights as EfficientAT does; leave any other module as it is.

    For `network.apply(initialise)`: children are not visited. Weights come from torch's global generator. Convolutions:
    He normal over the outputs (fan-out); linear layers: normal with a deviation of 0.01; biases: 0.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
