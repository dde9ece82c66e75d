"""The order in which a network computes, from its description alone: what reads which tensor, and when."""

from collections.abc import Iterator

from budget.memory import Step
from dynacp.student.architecture import PLAIN, POOLED, Architecture

INPUT = "input"
"""The name of the log-mel."""


def steps(network: Architecture) -> Iterator[Step]:
    """The steps of one clip in the order of `dynacp.student.model.DynaCP.forward`, named as layers and modules are.

    Two have no layer: `blocks.N.sum` adds the depthwise convolution and the parallel pool, `blocks.N.residual` the
    projection and the shortcut. Norms and activations happen in place and are left out.
    """
    outputs = {layer.name: layer.output for layer in network.layers()}

    def layer(name: str, reads: str) -> Step:
        return Step(name, (reads,), outputs[name])

    def addition(name: str, left: str, right: str) -> Step:
        return Step(name, (left, right), outputs[left], adds=True)

    yield Step(INPUT, (), (1, *network.input))
    yield layer("stem.conv1", INPUT)
    yield layer("stem.conv2", "stem.conv1")
    entering = "stem.conv2"
    for number, block in enumerate(network.blocks, start=1):
        name = f"blocks.{number}"
        expanded, branch, projected = f"{name}.expand", f"{name}.depthwise", f"{name}.project"
        yield layer(expanded, entering)
        yield layer(branch, expanded)
        if network.family == "dpcp":
            yield layer(f"{name}.pool", expanded)
            yield addition(f"{name}.sum", branch, f"{name}.pool")
            branch = f"{name}.sum"
        yield layer(projected, branch)
        shortcut = entering
        if block.residual == POOLED:
            shortcut = f"{name}.shortcut"
            yield layer(shortcut, entering)
        entering = projected
        if block.residual != PLAIN:
            entering = f"{name}.residual"
            yield addition(entering, projected, shortcut)
    yield layer("head.conv", entering)
    yield layer("head.pool", "head.conv")
