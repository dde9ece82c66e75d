"""What follows from a network's description alone: its layers, their order of execution, its table as in the paper.

What is counted here is computed by the modules of `dynacp.student.model`, in the same order and under the same names.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from budget.layers import BatchNorm2d, Conv2d, Count, GlobalAveragePool, GlobalResponseNorm, Layer, Pool2d, Shape
from budget.memory import Step
from dynacp.student.architecture import PLAIN, POOLED, STEM_STRIDE, Architecture

INPUT = "input"
"""The name of the step that stands for the log-mel."""


class BlockLike(Protocol):
    """A `Block`, or the same fields as integer arrays [networks], which describe a block in many networks at once."""

    @property
    def expanded(self) -> Count:
        """The channels of the depthwise convolution."""

    @property
    def out(self) -> Count:
        """The channels that leave the block."""

    @property
    def dilation(self) -> Count:
        """The dilation of the depthwise convolution."""

    @property
    def residual(self) -> Count:
        """The shortcut: `PLAIN`, `IDENTITY` or `POOLED`."""

    @property
    def stride(self) -> tuple[Count, Count]:
        """The stride (frequency, time)."""


def layers_of(architecture: Architecture) -> Iterator[Layer]:
    """The layers of a network in order, named as the modules of `dynacp.student.model.DynaCP` are."""
    return network_layers(architecture, architecture.blocks)


def network_layers(frame: Architecture, blocks: Iterable[BlockLike]) -> Iterator[Layer]:
    """The layers of a network in order: the stem and head of `frame`, with `blocks` between them in place of its own.

    Where a block's fields are integer arrays [networks], the layers' sizes are such arrays too, one entry per network.
    """
    shape: Shape = (1, *frame.input)
    for layer in stem_layers(frame):
        shape = layer.output
        yield layer
    for number, block in enumerate(blocks, start=1):
        yield from block_layers(frame, f"blocks.{number}", block, shape)
        shape = shape_after(block, shape)
    yield from head_layers(frame, shape)


def shape_after(block: BlockLike, shape: Shape) -> Shape:
    """The shape (channels, frequency, time) that leaves a block, given the one that enters."""
    (_, frequency, time), (down, along) = shape, block.stride
    return block.out, (frequency + down - 1) // down, (time + along - 1) // along


def stem_layers(frame: Architecture) -> Iterator[Layer]:
    """The layers before the first block of `frame`: two strided convolutions, each with a batch norm."""
    shape: Shape = (1, *frame.input)
    for number, channels in enumerate(frame.stem, start=1):
        conv = Conv2d(
            f"stem.conv{number}", shape, channels, kernel=3, stride=STEM_STRIDE, padding=1, foldable_norm=True
        )
        shape = conv.output
        yield conv
        yield BatchNorm2d(f"stem.norm{number}", shape, True)


def head_layers(frame: Architecture, shape: Shape) -> Iterator[Layer]:
    """The layers behind the last block, for the shape (channels, frequency, time) that leaves it."""
    head = Conv2d("head.conv", shape, frame.classes, foldable_norm=True)
    yield head
    yield BatchNorm2d("head.norm", head.output, True)
    yield GlobalAveragePool("head.pool", head.output)


def block_layers(frame: Architecture, name: str, block: BlockLike, shape: Shape) -> Iterator[Layer]:
    """The layers of a block in `frame`, for the shape (channels, frequency, time) that enters it.

    `name`, such as blocks.2, begins the layers' names.
    """
    parallel_pool, average = frame.family == "dpcp", frame.pool == "average"
    norm_on_depthwise = frame.norm == "depthwise"
    expanded, stride, dilation = block.expanded, block.stride, block.dilation
    inner = (expanded, *shape[1:])
    yield Conv2d(f"{name}.expand", shape, expanded, foldable_norm=True)
    yield BatchNorm2d(f"{name}.expand_norm", inner, True)
    depthwise = Conv2d(
        f"{name}.depthwise", inner, expanded, kernel=3, stride=stride, padding=dilation, dilation=dilation,
        groups=expanded, bias=parallel_pool, foldable_norm=norm_on_depthwise,
    )  # fmt: skip
    merged = depthwise.output
    yield depthwise
    if parallel_pool:
        yield Pool2d(f"{name}.pool", inner, stride, average)
    yield BatchNorm2d(f"{name}.depthwise_norm", merged, norm_on_depthwise)
    yield Conv2d(f"{name}.project", merged, block.out, foldable_norm=True)
    yield BatchNorm2d(f"{name}.project_norm", (block.out, *merged[1:]), True)
    pooled = block.residual == POOLED
    if pooled is not False:  # True for one network, an array of 0 and 1 for many
        yield Pool2d(f"{name}.shortcut", shape, stride, average, pooled)
    if frame.response == "global":
        yield GlobalResponseNorm(f"{name}.response", (block.out, *merged[1:]))


def steps_of(architecture: Architecture) -> Iterator[Step]:
    """The steps that compute one clip, and the tensors that each reads, in the order of `DynaCP.forward`.

    Steps are named as layers and modules are. Batch norms and activations happen in place and are left out. From one
    part to the next (stem, blocks, head) only the last tensor of the part is held, so that the peak of a network is the
    greatest of those of its parts.
    """
    steps = list(stem_steps(architecture))
    for number, block in enumerate(architecture.blocks, start=1):
        steps += block_steps(architecture, f"blocks.{number}", block, steps[-1])
    yield from [*steps, *head_steps(architecture, steps[-1])]


def stem_steps(frame: Architecture) -> Iterator[Step]:
    """The step that stands for the log-mel, and those of the stem."""
    outputs = {layer.name: layer.output for layer in stem_layers(frame)}
    yield Step(INPUT, (), (1, *frame.input))
    yield Step("stem.conv1", (INPUT,), outputs["stem.conv1"])
    yield Step("stem.conv2", ("stem.conv1",), outputs["stem.conv2"])


def block_steps(frame: Architecture, name: str, block: BlockLike, entering: Step) -> Iterator[Step]:
    """The steps of a block in `frame`, behind the step that writes what enters it; the last writes what leaves it.

    `name`, such as blocks.2, begins the steps' names. Two have no layer: `sum` adds the depthwise convolution and the
    parallel pool, `residual` the projection and the shortcut. A global response norm takes three steps: `squares` of
    its input, their `means` for each channel, and `response`, which scales and shifts the input in place. Sizes may be
    integer arrays [networks], but the block's residual must be one number, which all networks have.
    """
    outputs = {layer.name: layer.output for layer in block_layers(frame, name, block, entering.output)}

    def layer(part: str, reads: str) -> Step:
        return Step(f"{name}.{part}", (reads,), outputs[f"{name}.{part}"])

    def addition(part: str, left: Step, right: Step) -> Step:
        return Step(f"{name}.{part}", (left.name, right.name), left.output, adds=True)

    yield (expanded := layer("expand", entering.name))
    yield (branch := layer("depthwise", expanded.name))
    if frame.family == "dpcp":
        yield (pooled := layer("pool", expanded.name))
        yield (branch := addition("sum", branch, pooled))
    yield (leaving := layer("project", branch.name))
    shortcut = entering
    if block.residual == POOLED:
        yield (shortcut := layer("shortcut", entering.name))
    if block.residual != PLAIN:
        yield (leaving := addition("residual", leaving, shortcut))
    if frame.response == "global":
        yield (squares := Step(f"{name}.squares", (leaving.name,), leaving.output))
        yield (means := Step(f"{name}.means", (squares.name,), (block.out, 1, 1)))
        yield addition("response", leaving, means)


def head_steps(frame: Architecture, entering: Step) -> Iterator[Step]:
    """The steps behind the last block, whose last step is `entering`."""
    outputs = {layer.name: layer.output for layer in head_layers(frame, entering.output)}
    yield Step("head.conv", (entering.name,), outputs["head.conv"])
    yield Step("head.pool", ("head.conv",), outputs["head.pool"])


def table_of(architecture: Architecture) -> list[tuple[str, str, str, str]]:
    """The network in the form of the paper's Table 1, as rows (input, operator, stride, dilation) of text.

    Inputs are frequency x time x channels.
    """
    shapes = {layer.name: layer.input for layer in layers_of(architecture)}
    act = {"relu6": "ReLU6", "relu": "ReLU"}[architecture.activation]
    rows = [(shapes[f"stem.conv{i}"], f"Conv2D@3x3, BN, {act}", "{} x {}".format(*STEM_STRIDE), "-") for i in (1, 2)]
    prefix = {"dpcp": "DPCPBlock", "cp": "CPBlock"}[architecture.family]
    response = {"none": "", "global": ", GRN"}[architecture.response]
    for number, block in enumerate(architecture.blocks, start=1):
        operator = f"{prefix}({block.dilation})_{block.residual}, {block.expanded} expanded" + response
        rows.append((shapes[f"blocks.{number}.expand"], operator, "{} x {}".format(*block.stride), str(block.dilation)))
    rows.append((shapes["head.conv"], "Conv2D@1x1, BN", "1 x 1", "-"))
    rows.append((shapes["head.pool"], "Avg. Pool", "-", "-"))
    return [(f"{f} x {t} x {c}", operator, stride, dilation) for (c, f, t), operator, stride, dilation in rows]
