"""Counting conventions: what each layer costs, as small pure functions in one table per convention.

A multiply-accumulate (MAC) is counted differently by every tool, and the choice decides whether a network fits:
the challenge's baseline takes 29,419,156 MACs by the challenge's rule and 31,019,968 by fvcore's. So every count
names its convention. All of them charge a convolution for its weights at every output position, padding included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from budget.errors import UserError
from budget.layers import BatchNorm2d, Conv2d, Count, GlobalAveragePool, GlobalResponseNorm, Layer, Pool2d, Shape


class UnknownLayerError(UserError):
    """Raised where a convention has no rule for a layer: a count that skips it would be wrong in silence."""


class Cost(NamedTuple):
    """The cost of a layer or of a network: parameters, in two kinds that dtypes store differently, and MACs."""

    weights: Count
    """The number of weights in convolution kernels."""
    others: Count
    """The number of biases, and of parameters of norms."""
    macs: Count
    """Multiply-accumulates for one clip."""

    @property
    def parameters(self) -> Count:
        """The number of parameters of both kinds."""
        return self.weights + self.others


FREE = Cost(0, 0, 0)
"""The cost of a layer that a convention charges nothing for."""

Rule = Callable[[Any, Shape], Cost]
"""A function (layer, shape of its output) -> cost. The layer is of the type that the rule is for."""


@dataclass(frozen=True)
class Convention:
    """A rule of counting: what each type of layer costs."""

    name: str
    """The key in `CONVENTIONS`."""
    summary: str
    """What is counted, in a line."""
    rules: Mapping[type, Rule]
    """By type of layer, the function that costs it."""

    def cost(self, layer: Layer) -> Cost:
        """The cost of one layer; raises `UnknownLayerError` for a type without a rule."""
        return self.rule(layer)(layer, layer.output)

    def rule(self, layer: Layer) -> Rule:
        """The function (layer, shape of its output) -> cost for layers of this one's type.

        Raises `UnknownLayerError` for a type without one.
        """
        rule = self.rules.get(type(layer))
        if rule is None:
            raise UnknownLayerError(
                f"convention `{self.name}` has no rule for a layer of type {type(layer).__name__} ({layer!r}); "
                f"it knows {', '.join(kind.__name__ for kind in self.rules)}"
            )
        return rule


def _positions(shape: Shape) -> Count:
    return shape[1] * shape[2]


def _elements(shape: Shape) -> Count:
    return shape[0] * shape[1] * shape[2]


def _free(_layer: Layer, _output: Shape) -> Cost:
    return FREE


def _conv(weights: Count, biases: Count, output: Shape) -> Cost:
    return Cost(weights, biases, (weights + biases) * _positions(output))


def _conv_with_bias(layer: Conv2d, output: Shape) -> Cost:
    return _conv(layer.weights, layer.bias * output[0], output)


def _conv_weights_alone(layer: Conv2d, output: Shape) -> Cost:
    weights = layer.weights
    return Cost(weights, layer.bias * output[0], weights * _positions(output))


def _conv_after_folding(layer: Conv2d, output: Shape) -> Cost:
    return _conv(layer.weights, (layer.bias or layer.foldable_norm) * output[0], output)


def _norm_per_channel(layer: BatchNorm2d | GlobalResponseNorm, _output: Shape) -> Cost:
    return Cost(0, 2 * layer.input[0], 2 * layer.input[0])


def _norm_after_folding(layer: BatchNorm2d, output: Shape) -> Cost:
    return FREE if layer.foldable else _norm_per_channel(layer, output)


def _norm_as_convolution(layer: BatchNorm2d, output: Shape) -> Cost:
    return FREE if layer.foldable else Cost(0, 2 * layer.input[0], 2 * _elements(output))


def _norm_without_macs(layer: BatchNorm2d | GlobalResponseNorm, _output: Shape) -> Cost:
    return Cost(0, 2 * layer.input[0], 0)


def _norm_per_element(macs_per_element: int) -> Rule:
    return lambda layer, _output: Cost(0, 2 * layer.input[0], macs_per_element * _elements(layer.input))


def _average_pool_output(layer: Pool2d, output: Shape) -> Cost:
    return Cost(0, 0, layer.present * _elements(output)) if layer.average else FREE


def _global_pool_input(layer: GlobalAveragePool, _output: Shape) -> Cost:
    return Cost(0, 0, _elements(layer.input))


def _global_pool_sum_and_division(layer: GlobalAveragePool, _output: Shape) -> Cost:
    return Cost(0, 0, (_positions(layer.input) + 1) * layer.input[0])


DCASE = Convention(
    "dcase",
    "the challenge's rule (torchinfo, NeSsi): bias counted, norms 2 MACs a channel, pools free",
    {
        Conv2d: _conv_with_bias,
        BatchNorm2d: _norm_per_channel,
        Pool2d: _free,
        GlobalAveragePool: _free,
        GlobalResponseNorm: _norm_per_channel,
    },
)
"""The challenge's rule, as torchinfo and NeSsi count: bias counted, 2 MACs for each channel of a norm, pools free."""

FOLDED = Convention(
    "folded",
    "the challenge's rule after each batch norm that follows a convolution is merged into it",
    {
        Conv2d: _conv_after_folding,
        BatchNorm2d: _norm_after_folding,
        Pool2d: _free,
        GlobalAveragePool: _free,
        GlobalResponseNorm: _norm_per_channel,
    },
)
"""`DCASE` after each batch norm directly behind a convolution is merged into it, as runtimes do."""

XNNPACK = Convention(
    "xnnpack",
    "the challenge's rule for what XNNPACK computes: folded, and each norm that is left a 1x1 depthwise convolution",
    {
        Conv2d: _conv_after_folding,
        BatchNorm2d: _norm_as_convolution,
        Pool2d: _free,
        GlobalAveragePool: _free,
        GlobalResponseNorm: _norm_per_channel,
    },
)
"""`FOLDED` as XNNPACK computes it: a batch norm that is left is a depthwise convolution over all its elements."""

CONVOLUTIONS = Convention(
    "convolutions",
    "weights of convolutions alone, without bias (half of torch's FlopCounterMode)",
    {
        Conv2d: _conv_weights_alone,
        BatchNorm2d: _norm_without_macs,
        Pool2d: _free,
        GlobalAveragePool: _free,
        GlobalResponseNorm: _norm_without_macs,
    },
)
"""MACs of the weights of convolutions alone: half of what torch's `FlopCounterMode` counts."""

FVCORE = Convention(
    "fvcore",
    "no bias, batch norm 2 MACs an element, the global pool its input",
    {
        Conv2d: _conv_weights_alone,
        BatchNorm2d: _norm_per_element(2),
        Pool2d: _free,
        GlobalAveragePool: _global_pool_input,
        GlobalResponseNorm: _norm_without_macs,
    },
)
"""fvcore's rule: no bias, 2 MACs for each element of a batch norm, 1 for each input of the global pool."""

THOP = Convention(
    "thop",
    "no bias, batch norm 4 MACs an element, average pools one an output element",
    {
        Conv2d: _conv_weights_alone,
        BatchNorm2d: _norm_per_element(4),
        Pool2d: _average_pool_output,
        GlobalAveragePool: _global_pool_sum_and_division,
        GlobalResponseNorm: _norm_without_macs,
    },
)
"""thop's rule: no bias, 4 MACs for each element of a batch norm, 1 for each output of an average pool, and the sums and
divisions of the global pool."""

CONVENTIONS = {convention.name: convention for convention in (DCASE, FOLDED, XNNPACK, CONVOLUTIONS, FVCORE, THOP)}
"""All conventions, by name."""
