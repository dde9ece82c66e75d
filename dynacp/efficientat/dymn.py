"""DyMN: MN with every block dynamic, that is, steered by a context of its own input (Schmid et al., arXiv:2310.15648).

Shapes: log-mel [batch, 1, mels, frames] in; logits [batch, classes] and embedding [batch, channels] out. Inside a
block, H is the length of the context vector, and all maps are kept contiguous: per-sample kernels then need no copies.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynacp.efficientat.blocks import BlockShape, batch_norm, head, initialise, rounded, scaled_blocks, stem, tail
from dynacp.efficientat.mn import MN

KERNELS = 4
"""The kernels of a dynamic convolution."""

SCRATCH_TEMPERATURE = 30.0
"""The temperature of the softmax over kernels at which random weights start: nearly uniform, so that all kernels learn.
"""

TRAINED_TEMPERATURE = 1.0
"""The temperature at which training ends, one less each epoch, and that of the AudioSet checkpoints."""

KERNEL_NOISE = 0.05
"""Noise on each kernel of an MN-initialised DyMN, relative to the kernel's deviation. Kernels that start equal stay so
(their spread was a thousandth after 120 steps), and the attention over them would have nothing to choose from."""


class DynamicConv(nn.Module):
    """Four kernels, mixed for each sample by softmax(linear(context) / temperature); no bias.

    With a `kernel` of 1 it mixes channels, with `stride` 1 alone; with a larger one it is depthwise, and `outputs` must
    equal `inputs`. `context` is the length H of the context vector. Kernels are stored flat, [1, 1, 4, outputs * inputs
    / groups * kernel * kernel], as in the checkpoints.
    """

    def __init__(self, inputs: int, outputs: int, context: int, kernel: int = 1, *, stride: int = 1) -> None:
        super().__init__()
        self.outputs, self.kernel, self.stride = outputs, kernel, stride
        self.depthwise = kernel > 1
        flat = outputs * (1 if self.depthwise else inputs) * kernel**2
        he_over_the_outputs = math.sqrt(2 / (outputs * kernel**2))
        self.residuals = nn.Sequential(nn.Linear(context, KERNELS))
        self.weight = nn.Parameter(torch.randn(1, 1, KERNELS, flat) * he_over_the_outputs)

    def forward(self, x: Tensor, context: Tensor, temperature: float) -> Tensor:
        """Maps [batch, inputs, f, t], context [batch, H] -> [batch, outputs, f / stride, t / stride], rounded up.

        `temperature` is positive: the higher, the more alike are the kernels' shares.
        """
        attention = (self.residuals(context) / temperature).softmax(dim=-1)
        weight = attention @ self.weight[0, 0]
        batch, inputs, *size = x.shape
        if not self.depthwise:
            mixed = torch.bmm(weight.view(batch, self.outputs, inputs), x.flatten(2))
            return mixed.view(batch, self.outputs, *size)
        channels = batch * inputs
        mixed = functional.conv2d(
            x.reshape(1, channels, *size),
            weight.view(channels, 1, self.kernel, self.kernel),
            stride=self.stride,
            padding=self.kernel // 2,
            groups=channels,
        )
        return mixed.view(batch, self.outputs, *mixed.shape[2:])


class DynamicReLU(nn.Module):
    """The larger of two lines, a1 x + b1 and a2 x + b2, with a, b per sample and channel (DyReLU-B, 2003.10027).

    `context` is the length H of the context vector that they come from.
    """

    lambdas: Tensor
    """The scales [4] of what the context adds to a1, a2, b1 and b2."""
    init_v: Tensor
    """The values [4] of a1, a2, b1 and b2 to which that is added."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.coef_net = nn.Sequential(nn.Linear(context, 4 * channels))
        self.register_buffer("lambdas", torch.tensor([1.0, 1.0, 0.5, 0.5]))
        self.register_buffer("init_v", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps [batch, channels, f, t], context [batch, H] -> the same shape as the maps."""
        theta = 2 * self.coef_net(context).sigmoid() - 1
        coefficients = theta.view(*x.shape[:2], 1, 1, 4) * self.lambdas + self.init_v
        a1, a2, b1, b2 = coefficients.to(x.dtype).unbind(-1)
        # max(p, q) = q + relu(p - q), whose backward pass is far cheaper than that of torch.maximum.
        return torch.addcmul(b2, x, a2) + torch.addcmul(b1 - b2, x, a1 - a2).relu_()


class ContextGenerator(nn.Module):
    """What steers a block, from the block's input: a context vector, and gates over frequency and over time.

    `context` is the vector's length H; `inputs`, `expanded` and `stride` are the block's (`BlockShape`).
    """

    def __init__(self, inputs: int, expanded: int, context: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.joint_conv = nn.Conv2d(inputs, context, 1, bias=False)
        self.joint_norm = batch_norm(context)
        self.conv_f = nn.Conv2d(context, expanded, 1)
        self.conv_t = nn.Conv2d(context, expanded, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[batch, inputs, f, t] -> [batch, H], [batch, expanded, f / stride, 1], [batch, expanded, 1, t / stride].

        Sizes are rounded up; gates are in [0, 1].
        """
        sequences = torch.cat([x.mean(3), x.mean(2)], dim=2).unsqueeze(3)
        sequences = functional.hardswish(self.joint_norm(self.joint_conv(sequences)))
        over_f, over_t = sequences.split([x.shape[2], x.shape[3]], dim=2)
        if self.stride > 1:
            over_f, over_t = (
                functional.avg_pool2d(s, (3, 1), (self.stride, 1), padding=(1, 0)) for s in (over_f, over_t)
            )
        gate_f, gate_t = self.conv_f(over_f).sigmoid(), self.conv_t(over_t).sigmoid()
        return sequences.mean((2, 3)), gate_f, gate_t.transpose(2, 3)


class DynamicBlock(nn.Module):
    """Expand, depthwise, project, all dynamic; dynamic ReLU and coordinate attention before the projection.

    `context` is the length H of its context vector, as `context_length` gives it.
    """

    def __init__(self, shape: BlockShape, context: int) -> None:
        super().__init__()
        expanded = shape.expanded
        self.shortcut = shape.shortcut
        self.expands = expanded != shape.inputs
        if self.expands:
            self.exp_conv = DynamicConv(shape.inputs, expanded, context)
            self.exp_norm = batch_norm(expanded)
            self.exp_act = shape.activation()
        self.depth_conv = DynamicConv(expanded, expanded, context, shape.kernel, stride=shape.stride)
        self.depth_norm = batch_norm(expanded)
        self.depth_act = DynamicReLU(expanded, context)
        self.proj_conv = DynamicConv(expanded, shape.outputs, context)
        self.proj_norm = batch_norm(shape.outputs)
        self.context_gen = ContextGenerator(shape.inputs, expanded, context, stride=shape.stride)

    def forward(self, x: Tensor, temperature: float) -> Tensor:
        """[batch, inputs, f, t] -> [batch, outputs, f / stride, t / stride], rounded up.

        `inputs`, `outputs` and `stride` are the block's (`BlockShape`). `temperature` is positive: the higher, the more
        alike are the shares of a convolution's four kernels.
        """
        context, gate_f, gate_t = self.context_gen(x)
        y = x
        if self.expands:
            y = self.exp_act(self.exp_norm(self.exp_conv(y, context, temperature)))
        y = self.depth_act(self.depth_norm(self.depth_conv(y, context, temperature)), context)
        y = self.proj_norm(self.proj_conv(y * gate_f * gate_t, context, temperature))
        return x + y if self.shortcut else y


class DyMN(nn.Module):
    """A DyMN with all channels multiplied by `width`. Weights come from torch's global generator: seed it before.

    `temperature`, of the softmax over kernels, starts at `SCRATCH_TEMPERATURE`. It is no part of the state dict:
    whoever stores a half-annealed network stores it beside the weights. Raises `UserError` for a width that is no
    positive multiple of 1/160, and for `classes` that are no positive integer.
    """

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        blocks = scaled_blocks(width)
        last = blocks[-1].outputs
        self.width = width
        self.temperature = SCRATCH_TEMPERATURE
        self.in_c = stem(blocks[0].inputs)
        self.layers = nn.ModuleList(DynamicBlock(shape, context_length(shape, width)) for shape in blocks)
        self.out_c = tail(last)
        self.classifier = head(6 * last, width, classes)
        self.apply(initialise)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, 1, mels, frames] -> logits [batch, classes], embedding [batch, channels] (the pooled last map)."""
        x = self.in_c(log_mel).contiguous()
        for block in self.layers:
            x = block(x, self.temperature)
        embedding = self.classifier[:2](self.out_c(x))
        return self.classifier[2:](embedding), embedding

    def epoch_ends(self) -> None:
        """Lower the temperature by one, down to 1 (arXiv:2310.15648, section III-C). Call it once an epoch."""
        self.temperature = max(TRAINED_TEMPERATURE, self.temperature - 1.0)


def context_length(shape: BlockShape, width: float) -> int:
    """The length H of a block's context: a quarter of its expanded channels, within 32 to 128 times `width`.

    All are rounded as channels are (`rounded`). `width` is that of the network, which multiplied the channels in
    `shape` already.
    """
    return min(max(rounded(shape.expanded // 4), rounded(32 * width)), rounded(128 * width))


def dymn(width: float, classes: int = 527) -> DyMN:
    """An untrained DyMN with all channels multiplied by `width`; 1 is MobileNetV3-Large's.

    `width` is a positive multiple of 1/160 (0.4, 1 and 2 are published). Weights come from torch's global generator.

    Raises `UserError` as `DyMN` does; 527 classes are AudioSet's.
    """
    return DyMN(width, classes)


def mn_initialised_dymn(mn: MN, classes: int) -> DyMN:
    """An MN-initialised DyMN of the MN's width: what both have comes from the MN, the rest is drawn as from scratch.

    Taken are all norms of the main path, the stem, the tail and the head (where the number of classes agrees), and
    each of the four kernels of a dynamic convolution is the MN's one kernel, with `KERNEL_NOISE`: 280 of 578 tensors
    at width 0.4. So every dynamic convolution computes at first nearly what the MN's does, whatever its attention.
    The context generators, the dynamic ReLUs and the attention over kernels are new, so the network as a whole
    differs from the MN until trained.

    The temperature is 1: annealing from 30 lets random kernels all learn, and these are trained and alike already,
    while a fine-tuning of few epochs would end long before attention had a say. New parts come from torch's global
    generator: seed it before. The MN is left as it is, and shares no memory with the new network. Raises `UserError`
    for `classes` that are no positive integer.
    """
    network = dymn(mn.width, classes)
    network.temperature = TRAINED_TEMPERATURE
    first, *blocks, last = mn.features
    network.in_c.load_state_dict(first.state_dict())
    network.out_c.load_state_dict(last.state_dict())
    for static, dynamic in zip(blocks, network.layers, strict=True):
        names = ("exp", "depth", "proj") if dynamic.expands else ("depth", "proj")
        convolutions = [module for module in static.modules() if isinstance(module, nn.Conv2d)]
        norms = [module for module in static.modules() if isinstance(module, nn.BatchNorm2d)]
        for name, convolution, norm in zip(names, convolutions, norms, strict=True):
            kernels, kernel = getattr(dynamic, f"{name}_conv").weight, convolution.weight.detach().flatten()
            with torch.no_grad():
                kernels.copy_(kernel + KERNEL_NOISE * kernel.std() * torch.randn_like(kernels))
            getattr(dynamic, f"{name}_norm").load_state_dict(norm.state_dict())
    for number in (2, 5):
        ours, theirs = network.classifier[number], mn.classifier[number]
        if ours.weight.shape == theirs.weight.shape:
            ours.load_state_dict(theirs.state_dict())
    return network
