"""The student network, built from its `Architecture`; module names are the row names of the budget's ledger.

Shapes: log-mel [batch, 1, mels, frames] in, logits [batch, classes] out.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dynacp.student.architecture import IDENTITY, POOLED, STEM_STRIDE, Architecture, Block


def _activation(name: str) -> nn.Module:
    return {"relu6": nn.ReLU6, "relu": nn.ReLU}[name]()  # in place, ReLU6 copies its input for the backward pass


Pool = nn.AvgPool2d | nn.MaxPool2d
"""A pool of 3 x 3 windows, padded by 1."""


def _pool(name: str, stride: tuple[int, int]) -> Pool:
    kinds: dict[str, type[Pool]] = {"average": nn.AvgPool2d, "maximum": nn.MaxPool2d}
    return kinds[name](3, stride=stride, padding=1)


def _pointwise(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


class GlobalResponseNorm(nn.Module):
    """Global response normalisation (ConvNeXt V2, arXiv 2301.00808, section 3): channels compete by their energy.

    y = x + weight * x * n + bias, where n is a channel's L2 norm over frequency and time as a multiple of the mean of
    all channels' norms. `weight` and `bias`, [channels, 1, 1], start at 0, so that nothing is changed at first.
    """

    EPSILON = 1e-6
    """Added to the mean square of a channel, and to the divisor, so that zeros divide and differentiate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, frequency, time] -> the same shape."""
        # The root of the mean square stands for the norm, since their ratios are equal: it does not overflow float16.
        # Below the root, epsilon keeps the gradient of a channel of zeros finite.
        norms = (x.square().mean((2, 3), keepdim=True) + self.EPSILON).sqrt()
        n = norms / (norms.mean(1, keepdim=True) + self.EPSILON)
        return x * (1 + self.weight * n) + self.bias


class DPCPBlock(nn.Module):
    """Expand, depthwise convolution beside a pool, project, shortcut (DynaCP paper, section 3.2 and figure 3).

    In the family `cp` the pool is left out, which makes it CP-Mobile's block. A global response norm may end it.
    `frame` decides what is the same in all blocks, `block` the rest; `channels_in` enter.
    """

    def __init__(self, frame: Architecture, block: Block, channels_in: int) -> None:
        super().__init__()
        expanded, dilation, parallel = block.expanded, block.dilation, frame.family == "dpcp"
        self.norm_after_sum = frame.norm == "sum"
        self.expand = _pointwise(channels_in, expanded)
        self.expand_norm = nn.BatchNorm2d(expanded)
        self.depthwise = nn.Conv2d(
            expanded, expanded, 3, block.stride, padding=dilation, dilation=dilation, groups=expanded, bias=parallel
        )
        self.pool = _pool(frame.pool, block.stride) if parallel else None
        self.depthwise_norm = nn.BatchNorm2d(expanded)
        self.project = _pointwise(expanded, block.out)
        self.project_norm = nn.BatchNorm2d(block.out)
        shortcuts: dict[int, Callable[[], nn.Module]] = {
            IDENTITY: nn.Identity,
            POOLED: lambda: _pool(frame.pool, block.stride),
        }
        self.shortcut = shortcuts[block.residual]() if block.residual in shortcuts else None
        self.activation = _activation(frame.activation)
        self.response = GlobalResponseNorm(block.out) if frame.response == "global" else None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels_in, frequency, time] -> [batch, out, frequency / stride, time / stride], rounded up."""
        expanded = self.activation(self.expand_norm(self.expand(x)))
        branch = self.depthwise(expanded)
        if self.pool is None:
            merged = self.depthwise_norm(branch)
        elif self.norm_after_sum:
            merged = self.depthwise_norm(branch + self.pool(expanded))
        else:
            merged = self.depthwise_norm(branch) + self.pool(expanded)
        projected = self.project_norm(self.project(self.activation(merged)))
        if self.shortcut is not None:
            projected = projected + self.shortcut(x)
        left: Tensor = self.activation(projected)
        return left if self.response is None else self.response(left)


class DynaCP(nn.Module):
    """A student: the network that an `Architecture` describes, which is its attribute `architecture`.

    Weights are drawn from torch's global generator: seed it before building.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        channels, stem = 1, OrderedDict[str, nn.Module]()
        for number, out in enumerate(architecture.stem, start=1):
            stem[f"conv{number}"] = nn.Conv2d(channels, out, 3, STEM_STRIDE, padding=1, bias=False)
            stem[f"norm{number}"] = nn.BatchNorm2d(out)
            stem[f"act{number}"] = _activation(architecture.activation)
            channels = out
        self.stem = nn.Sequential(stem)
        self.blocks = nn.ModuleDict()
        for number, block in enumerate(architecture.blocks, start=1):
            self.blocks[str(number)] = DPCPBlock(architecture, block, channels)
            channels = block.out
        self.head = nn.Sequential(
            OrderedDict(
                conv=_pointwise(channels, architecture.classes),
                norm=nn.BatchNorm2d(architecture.classes),
                pool=nn.AdaptiveAvgPool2d(1),
            )
        )
        self.apply(_initialise)

    def forward(self, log_mel: Tensor) -> Tensor:
        """[batch, 1, mels, frames] -> logits [batch, classes]."""
        x = self.stem(log_mel)
        for block in self.blocks.values():
            x = block(x)
        return self.head(x).flatten(1)


def _initialise(module: nn.Module) -> None:
    """He initialisation over the outputs, as CP-Mobile does; batch norm keeps PyTorch's 1 and 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
