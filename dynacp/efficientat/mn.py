"""MN: MobileNetV3-Large for audio, by its width (Schmid et al., arXiv:2211.04772).

Shapes: log-mel [batch, 1, mels, frames] in; logits [batch, classes] and embedding [batch, channels] out.
"""

from collections import OrderedDict

from torch import Tensor, nn

from dynacp.efficientat.blocks import BlockShape, conv_norm, head, initialise, rounded, scaled_blocks, stem, tail


class SqueezeExcite(nn.Module):
    """Each channel scaled by a gate computed from all channel means; reduction 4.

    The checkpoints' names allow several gates side by side (over channels, frequency, time); MN has the first alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels // 4)
        gate = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels, squeezed),
                relu=nn.ReLU(),
                fc2=nn.Linear(squeezed, channels),
                sigmoid=nn.Sigmoid(),
            )
        )
        self.conc_se_layers = nn.ModuleList([gate])

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, f, t] -> the same shape."""
        return x * self.conc_se_layers[0](x.mean((2, 3)))[:, :, None, None]


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, squeeze and excite, project; a shortcut where the shapes allow one."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        act, expanded = shape.activation, shape.expanded
        layers: list[nn.Module] = []
        if expanded != shape.inputs:
            layers.append(conv_norm(shape.inputs, expanded, activation=act))
        layers.append(conv_norm(expanded, expanded, shape.kernel, stride=shape.stride, groups=expanded, activation=act))
        if shape.squeeze_excite:
            layers.append(SqueezeExcite(expanded))
        layers.append(conv_norm(expanded, shape.outputs))
        self.block = nn.Sequential(*layers)
        self.shortcut = shape.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, f, t] -> [batch, outputs, f / stride, t / stride], rounded up.

        `inputs`, `outputs` and `stride` are the block's (`BlockShape`).
        """
        return x + self.block(x) if self.shortcut else self.block(x)


class MN(nn.Module):
    """An MN with all channels multiplied by `width`. Weights come from torch's global generator: seed it before.

    Raises `UserError` for a width that is no positive multiple of 1/160, and for `classes` that are no positive
    integer.
    """

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        blocks = scaled_blocks(width)
        last = blocks[-1].outputs
        self.width = width
        self.features = nn.Sequential(
            stem(blocks[0].inputs),
            *(InvertedResidual(shape) for shape in blocks),
            tail(last),
        )
        self.classifier = head(6 * last, width, classes)
        self.apply(initialise)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, 1, mels, frames] -> logits [batch, classes], embedding [batch, channels] (the pooled last map)."""
        embedding = self.classifier[:2](self.features(log_mel))
        return self.classifier[2:](embedding), embedding

    def epoch_ends(self) -> None:
        """Do nothing: `DyMN` lowers its temperature here, and training loops need not know which one they train."""


def mn(width: float, classes: int = 527) -> MN:
    """An untrained MN with all channels multiplied by `width`; 1 is MobileNetV3-Large's.

    `width` is a positive multiple of 1/160 (0.1 to 4.0 are published). Weights come from torch's global generator.

    Raises `UserError` as `MN` does; 527 classes are AudioSet's.
    """
    return MN(width, classes)
