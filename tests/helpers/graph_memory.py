"""An independent peak of activation memory: read off an exported ONNX graph, by its own edges and shapes."""

import math
from collections import Counter

from onnx import ModelProto

from budget.onnx_count import divided, for_one_clip, shape_of

IN_PLACE = {"Add", "BatchNormalization", "Cast", "Clip", "Div", "Flatten", "Mul", "Relu", "Reshape", "Sqrt"}
"""What writes into an operand of its output's size that is read no more; everything else takes a new buffer."""


def peak_activations(model: ModelProto) -> int:
    """Elements held at once while one clip runs through the nodes in their order, as `budget.memory` says.

    The audio front end, where the graph has one, is left out: its last value is the network's input.
    """
    graph = for_one_clip(model).graph
    _, network = divided(graph)
    weights = {tensor.name for tensor in graph.initializer}
    sizes = {value.name: math.prod(shape_of(value)) for value in (*graph.input, *graph.value_info, *graph.output)}
    unread = Counter(name for node in network for name in node.input if name and name not in weights)
    unread.update(value.name for value in graph.output)
    made = {name for node in network for name in node.output}
    buffers = {name: sizes[name] for name in unread if name not in made}
    peak = sum(buffers.values())
    for node in network:
        unread.subtract(name for name in node.input if name in buffers)
        done = [name for name in node.input if name in buffers and not unread[name]]
        for output in node.output:
            reusable = [name for name in done if buffers.get(name) == sizes[output]]
            if node.op_type in IN_PLACE and reusable:
                del buffers[reusable[0]]
            buffers[output] = sizes[output]
        peak = max(peak, sum(buffers.values()))
        buffers = {name: size for name, size in buffers.items() if unread[name]}
    return peak
