"""The count of an exported graph, against golden totals; the graphs are PyTorch's, of random weights."""

import dataclasses
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from budget.conventions import FOLDED, UnknownLayerError
from budget.ledger import ledger
from budget.onnx_count import count_graph
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.export.formats import Exported
from dynacp.export.onnx_graph import onnx_graph
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP


def student(architecture: Architecture) -> Student:
    """With no weight that is zero: an exporter leaves out what adds nothing."""
    torch.manual_seed(0)
    network = DynaCP(architecture)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, *((0.5, 2) if name.endswith("var") else (-0.2, 0.3)))
    classes = tuple(map(str, range(architecture.classes)))
    return Student(network.eval(), LogMel(FrontEnd()), classes, torch.float32)


@pytest.mark.parametrize(
    ("architecture", "parameters", "macs"),
    [
        (TABLE1, 60_786, 29_496_672),  # the norms after D + P stay: 496 more biases than Table 1 has running weights
        (dataclasses.replace(TABLE1, norm="depthwise"), 59_794, 29_495_680),
        (BASELINE, 59_794, 30_216_768),  # over the limit, which it keeps before folding
        (dataclasses.replace(TABLE1, response="global"), 60_786 + 2 * 312, 29_496_672 + 2 * 312),
    ],
    ids=["table1", "norm on the depthwise branch", "baseline", "global response norms"],
)
def test_an_exported_graph_costs_what_the_ledger_says_row_by_row(
    architecture: Architecture, parameters: int, macs: int
) -> None:
    counted = count_graph(onnx_graph(Exported(student(architecture), "float16", waveform=False))).ledger
    assert (counted.parameters, counted.macs, counted.bytes) == (parameters, macs, 2 * parameters)
    assert counted.dtype == "float16"
    expected = ledger(layers_of(architecture), convention=FOLDED, dtype="float16").rows
    assert [row[2:] for row in counted.rows] == [row[2:] for row in expected if row.parameters]


def test_the_front_end_in_a_graph_is_counted_apart() -> None:
    small = student(dataclasses.replace(TABLE1, blocks=TABLE1.blocks[:1]))
    hearing, seeing = (count_graph(onnx_graph(Exported(small, "float32", waveform=each))) for each in (True, False))
    assert hearing.ledger == seeing.ledger
    assert seeing.front_end_bytes == 0
    assert hearing.front_end_bytes > 4 * 3072  # the window, and the mel bank


def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Of 1 x 4 x 4 inputs called x, with a convolution's weights called w."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, 4, 4]) for name in "xy"]
    weights = helper.make_tensor("w", TensorProto.FLOAT, (1, 1, 1, 1), [1.0])
    return helper.make_model(helper.make_graph(list(nodes), "made", values[:1], values[1:], [weights]))


def test_an_operator_that_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    convolution = helper.make_node("Conv", ["x", "w"], ["c"])
    with pytest.raises(UnknownLayerError, match="'gate' is a Sigmoid"):
        count_graph(graph(convolution, helper.make_node("Sigmoid", ["c"], ["y"], name="gate")))
    with pytest.raises(UnknownLayerError, match="multiplies by parameters without a shift"):
        count_graph(graph(convolution, helper.make_node("Mul", ["c", "w"], ["y"])))
    with pytest.raises(UnknownLayerError, match="no convolution"):
        count_graph(graph(helper.make_node("Relu", ["x"], ["y"])))
    assert count_graph(graph(convolution, helper.make_node("Relu", ["c"], ["y"]))).ledger.macs == 16
