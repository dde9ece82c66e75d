"""An independent count: parameters, bytes and MACs read off an exported ONNX graph, by its own weights and shapes.

Nothing is taken from the description that the graph was exported from. What stands before the first convolution is the
audio front end; its constants are counted apart, as the challenge does not count them. So are the scales and zero
points of a graph in int8: the challenge counts parameters, by the dtype of each, and these are none.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.numpy_helper import to_array

from budget.conventions import DCASE, UnknownLayerError
from budget.ledger import Ledger, Row

QUANTISERS = {"DequantizeLinear", "QuantizeLinear"}
"""Operators that convert between floats and integers, by a scale and a zero point."""

FREE_OPERATORS = {
    "Add", "AveragePool", "Cast", "Clip", "Div", "Flatten", "GlobalAveragePool", "MaxPool", "Mul", "Pow", "ReduceMean",
    "Relu", "Reshape", "Sqrt", *QUANTISERS,
}  # fmt: skip
"""Operators that the challenge charges nothing for, but for an `Add` or a `Mul` with parameters."""


@dataclass(frozen=True)
class GraphCount:
    """The count of an exported file: the network's ledger, and the bytes of constants that are no parameters."""

    ledger: Ledger
    """The layers that have parameters, in the file's order."""
    statistics_bytes: int = 0
    """Bytes of the running means and variances of batch norms that were not folded."""
    front_end_bytes: int = 0
    """Bytes of the constants of the audio front end, such as the mel bank."""
    quantiser_bytes: int = 0
    """Bytes of scales and zero points."""


def count_graph(model: ModelProto) -> GraphCount:
    """The cost of an ONNX model for one clip, by the challenge's rule (`budget.conventions.DCASE`).

    `model` is not changed. Raises `UnknownLayerError` for an operator without a rule, as a count that skips it would be
    wrong in silence, and for a model without a convolution; `InferenceError` as `for_one_clip` does.
    """
    inferred = for_one_clip(model)
    weights = {tensor.name: tensor for tensor in inferred.graph.initializer}
    shapes = {value.name: shape_of(value) for value in (*inferred.graph.value_info, *inferred.graph.output)}
    front_end, network = divided(inferred.graph)
    parameters = weights | {
        node.output[0]: weights[node.input[0]]
        for node in network
        if node.op_type in QUANTISERS and node.input[0] in weights
    }
    rows, statistics, quantisers, scale = list[Row](), 0, set[str](), list[TensorProto]()
    for node in network:
        if node.op_type in QUANTISERS:
            quantisers.update(node.input[1:])
        own = [parameters[name] for name in node.input if name in parameters]
        of_channels = [each for each in own if each.dims]
        if node.op_type == "Mul":
            scale += of_channels
        if node.op_type == "Add" and of_channels:  # the shift, with which a global response norm ends
            own, scale = scale + of_channels, []
        elif node.op_type in FREE_OPERATORS:
            continue
        if node.op_type == "BatchNormalization":
            own, running = own[:2], own[2:]
            statistics += sum(map(_bytes, running))
        rows.append(_row(node, own, shapes[node.output[0]]))
    if scale:
        raise UnknownLayerError("the graph multiplies by parameters without a shift, which this count has no rule for.")
    dtypes = {TensorProto.DataType.Name(parameters[node.input[1]].data_type).lower() for node in network if _conv(node)}
    used_before = {name for node in front_end for name in node.input if name in weights}
    return GraphCount(
        Ledger(tuple(rows), DCASE.name, ", ".join({"float": "float32"}.get(each, each) for each in sorted(dtypes))),
        statistics_bytes=statistics,
        front_end_bytes=sum(_bytes(weights[name]) for name in used_before),
        quantiser_bytes=sum(_bytes(weights[name]) for name in quantisers),
    )


def _row(node: NodeProto, own: list[TensorProto], output: tuple[int, int, int]) -> Row:
    elements = sum(map(_elements, own))
    uses = {"Conv": math.prod(output[1:]), "BatchNormalization": 1, "Add": 1}
    if node.op_type not in uses:
        raise UnknownLayerError(
            f"the graph's node {node.name!r} is a {node.op_type}, which this count has no rule for; it knows "
            f"{', '.join(uses)}, and at no cost {', '.join(sorted(FREE_OPERATORS))}."
        )
    macs = elements * uses[node.op_type]
    return Row(own[0].name.removesuffix(".weight"), node.op_type, output, elements, macs, sum(map(_bytes, own)))


def for_one_clip(model: ModelProto) -> ModelProto:
    """A copy of a model for a batch of one clip, with the shape of every value inferred.

    Raises `onnx.shape_inference.InferenceError` for a model whose shapes do not follow from its input.
    """
    single = ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]  # the exporter's, which name the batch
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True)


def divided(graph: GraphProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """The graph's own nodes in two parts: those that compute the first convolution's input, and the others.

    Quantisers are always among the others. Raises `UnknownLayerError` for a graph without a convolution.
    """
    makers = {output: node for node in graph.node for output in node.output}
    first = next((node for node in graph.node if _conv(node)), None)
    if first is None:
        raise UnknownLayerError("the graph holds no convolution, so it is no network of this family.")
    upstream = _upstream([first.input[0]], makers)
    before = {id(node) for node in upstream if node.op_type not in QUANTISERS}
    return (
        [node for node in graph.node if id(node) in before],
        [node for node in graph.node if id(node) not in before],
    )


def _upstream(names: Iterable[str], makers: dict[str, NodeProto]) -> Iterator[NodeProto]:
    for name in names:
        if name in makers:
            yield makers[name]
            yield from _upstream(makers[name].input, makers)


def _conv(node: NodeProto) -> bool:
    return node.op_type == "Conv"


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, int, int]:
    """The shape (channels, frequency, time) of a value, without its batch axis.

    1 for axes that it lacks, 0 for those whose size is not known.
    """
    channels, frequency, time, *_ = [*(dim.dim_value for dim in value.type.tensor_type.shape.dim), 1, 1, 1][1:]
    return channels, frequency, time


def _elements(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)


def _bytes(tensor: TensorProto) -> int:
    return int(to_array(tensor).nbytes)
