"""Students in int8: close to what they were, counted in their ONNX graphs, and trained with rounding."""

import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy
import numpy as np
import onnx
import pytest
import ready_students
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from torch import Tensor, nn

from budget.conventions import FOLDED
from budget.ledger import ledger
from dynacp.export.formats import Exported
from dynacp.export.onnx_graph import OnnxGraph
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import TABLE1, Architecture, Block
from dynacp.student.int8 import PairwiseObserver, aware, quantised
from dynacp.student.layers import layers_of

SMALL = Architecture((Block(16, 16, dilation=2), Block(16, 16, residual=3, stride=(2, 2))), stem=(8, 16))


@pytest.fixture(scope="module")
def table1() -> Student:
    return ready_students.student(TABLE1)


@pytest.fixture(scope="module")
def in_int8(table1: Student) -> nn.Module:
    calibration = ready_students.clips(40, seed=2)  # two batches
    return quantised(table1.network, calibration, adds_in_16_bits=True)


@pytest.fixture(scope="module")
def graph(table1: Student, in_int8: nn.Module) -> OnnxGraph:
    return OnnxGraph(Exported(table1, "int8", network=in_int8))


def answers(network: nn.Module, heard: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(heard)


def test_table_1_in_int8_costs_what_the_ledger_says_row_by_row(graph: OnnxGraph) -> None:
    """58,440 weights of kernels at 1 byte; 1,354 biases and 992 parameters of norms at 4."""
    count = graph.count()
    account = count.ledger
    assert (account.parameters, account.macs) == (60_786, 29_496_672)
    assert account.bytes == 58_440 + 4 * (1_354 + 992) == 67_824
    assert account.dtype == "int8"
    expected = ledger(layers_of(TABLE1), convention=FOLDED, dtype="int8").rows
    assert [row[2:] for row in account.rows] == [row[2:] for row in expected if row.parameters]
    assert count.quantiser_bytes > 4 * 1_354  # a scale for each output channel, and those of activations
    assert count.front_end_bytes == 0


def test_a_global_response_norm_stays_in_float32_between_two_conversions() -> None:
    architecture = replace(SMALL, response="global")
    made = ready_students.student(architecture)
    network = quantised(made.network, ready_students.clips(40, seed=2), adds_in_16_bits=True)
    graph = OnnxGraph(Exported(made, "int8", network=network))
    expected = ledger(layers_of(architecture), convention=FOLDED, dtype="int8").rows
    assert [row[2:] for row in graph.count().ledger.rows] == [row[2:] for row in expected if row.parameters]
    makers = {output: node.op_type for node in graph.model.graph.node for output in node.output}
    inside = [node for node in graph.model.graph.node if node.op_type in ("Pow", "Sqrt", "Div", "Mul")]
    assert len(inside) == 5 * len(architecture.blocks)
    converted = [node for node in inside if "DequantizeLinear" in map(makers.get, node.input)]
    assert {node.op_type for node in converted} == {"Pow", "Mul"}, "only what enters it was in int8"
    assert len(converted) == 2 * len(architecture.blocks)


def test_a_graph_in_int8_holds_each_kernel_as_int8_and_no_second_copy(graph: OnnxGraph) -> None:
    def held(kind: int) -> list[onnx.TensorProto]:
        return [tensor for tensor in graph.model.graph.initializer if tensor.data_type == kind]

    sizes = sorted(len(onnx.numpy_helper.to_array(tensor).ravel()) for tensor in held(TensorProto.INT8))
    assert sum(size for size in sizes if size >= 72) >= 58_440
    assert max(len(onnx.numpy_helper.to_array(tensor).ravel()) for tensor in held(TensorProto.FLOAT)) <= 120
    assert len(graph.model.SerializeToString()) < 2 * 67_824


def test_in_int8_it_answers_much_as_in_float_on_clips_that_calibrated_it_and_on_others(
    table1: Student, in_int8: nn.Module
) -> None:
    """Random weights are the worst case: no training made their answers stand clear of rounding."""
    for seed in (2, 3):
        heard = ready_students.clips(24, seed=seed)
        wanted, got = answers(table1.network, heard), answers(in_int8, heard)
        centred = torch.stack([(each - each.mean(dim=0)).flatten() for each in (wanted, got)])
        assert 0.75 < torch.corrcoef(centred)[0, 1] < 0.9999


def test_the_graph_answers_as_the_network_in_int8(in_int8: nn.Module, graph: OnnxGraph) -> None:
    """But for a rounding here and there that falls the other way."""
    heard = ready_students.clips(24, seed=3)
    wanted = answers(in_int8, heard)
    off = (torch.from_numpy(graph.run(heard.numpy())) - wanted).abs()
    assert off.mean() < 0.15 * wanted.std()


def kernels_of(graph: OnnxGraph) -> list[np.ndarray]:
    """The int8 kernels of a graph's convolutions, [out, in, frequency, time]."""
    nodes, constants = graph.model.graph.node, {each.name: each for each in graph.model.graph.initializer}
    stored = {node.output[0]: node.input[0] for node in nodes if node.op_type == "DequantizeLinear"}
    kernels = [constants[stored[node.input[1]]] for node in nodes if node.op_type == "Conv"]
    assert {kernel.data_type for kernel in kernels} == {TensorProto.INT8}
    return [onnx.numpy_helper.to_array(kernel).astype(int) for kernel in kernels]


def worst_sums(kernel: np.ndarray) -> np.ndarray:
    """For each output channel, the largest sum of two neighbouring products that 8-bit activations can give."""
    worst = np.zeros(len(kernel), dtype=int)
    for order in (kernel, np.moveaxis(kernel, 1, -1)):  # channels first, channels last
        taps = order.reshape(len(kernel), -1)
        for first, second in zip(taps[:, :-1].T, taps[:, 1:].T, strict=True):
            positive = 255 * (np.maximum(first, 0) + np.maximum(second, 0))
            negative = 255 * (np.maximum(-first, 0) + np.maximum(-second, 0))
            worst = np.maximum(worst, np.maximum(positive, negative))
    return worst


def test_no_two_neighbouring_products_of_an_exported_kernel_can_overflow_16_bits(graph: OnnxGraph) -> None:
    """x86 without VNNI adds an unsigned activation (at most 255) times a weight to its neighbour's in 16 bits."""
    kernels = kernels_of(graph)
    assert sum(kernel.size for kernel in kernels) == 58_440
    worst = np.concatenate([worst_sums(kernel) for kernel in kernels])
    assert worst.max() < 2**15
    assert worst.min() >= 255 * 125, "no channel is scaled down more than it must be"


@given(
    hypothesis.extra.numpy.arrays(
        np.float32,
        hypothesis.extra.numpy.array_shapes(min_dims=4, max_dims=4, max_side=5),
        elements=st.floats(-8, 8, width=32),
    )
)
def test_whatever_a_kernel_holds_its_pairs_fit_16_bits(kernel: np.ndarray) -> None:
    observer = PairwiseObserver(dtype=torch.int8, qscheme=torch.per_channel_symmetric, quant_min=-127, quant_max=127)
    observer(torch.from_numpy(kernel))
    scales = observer.calculate_qparams()[0].numpy().reshape(-1, 1, 1, 1)
    stored = np.rint(kernel / scales).astype(int)
    assert abs(stored).max() <= 127
    assert worst_sums(stored).max() < 2**15


def test_kernels_for_xnnpack_which_adds_in_32_bits_use_all_of_their_8_bits() -> None:
    network = quantised(ready_students.student(SMALL).network, ready_students.clips(8, seed=2), adds_in_16_bits=False)
    kernels = [tensor for tensor in network.state_dict().values() if tensor.dtype == torch.int8]
    assert len(kernels) == 9
    for kernel in kernels:
        assert kernel.min() >= -127
        assert (kernel.flatten(1).abs().amax(dim=1) == 127).all(), "each channel has its own largest weight as 127"


ON_ANOTHER_PROCESSOR = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
numpy.save(sys.argv[3], session.run(None, {"log_mel": numpy.load(sys.argv[2])})[0])
"""


@pytest.mark.emulated
@pytest.mark.parametrize("processor", ["Haswell", "Nehalem"])  # AVX2 without VNNI, and no AVX at all
def test_an_older_processor_answers_as_this_one(
    in_int8: nn.Module, graph: OnnxGraph, tmp_path: Path, processor: str
) -> None:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or platform.machine() != "x86_64":
        pytest.skip("needs qemu-x86_64 on an x86 machine (on Debian: apt-get install qemu-user)")
    file, heard, answered = tmp_path / "student.onnx", tmp_path / "heard.npy", tmp_path / "logits.npy"
    clips = ready_students.clips(6, seed=3)
    graph.save(file, {})
    np.save(heard, clips.numpy())
    code = ("-c", ON_ANOTHER_PROCESSOR, str(file), str(heard), str(answered))
    subprocess.run([emulator, "-cpu", processor, sys.executable, *code], check=True, capture_output=True)
    logits = np.load(answered)
    assert abs(logits - graph.run(clips.numpy())).max() < 0.02 * logits.std()
    assert abs(logits - answers(in_int8, clips).numpy()).mean() < 0.15 * logits.std()


def test_a_network_in_int8_hears_any_number_of_clips(in_int8: nn.Module) -> None:
    heard = ready_students.clips(3, seed=3)
    together = answers(in_int8, heard)
    assert torch.equal(torch.cat([answers(in_int8, clip) for clip in heard.split(1)]), together)


def test_a_network_aware_of_int8_starts_from_the_same_parameters_and_rounds() -> None:
    network, heard = ready_students.student(SMALL).network, ready_students.clips(8, seed=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rounding = aware(network)
    state = rounding.state_dict()
    for name, tensor in before.items():
        assert torch.equal(state[name], tensor), name
    assert {name for name, _ in rounding.named_parameters()} == {name for name, _ in network.named_parameters()}
    network.train()
    rounding.train()
    plain, rounded = network(heard), rounding(heard)
    assert 0.01 < (plain - rounded).abs().max() / plain.std() < 1
    rounded.sum().backward()
    assert all(parameter.grad is not None for parameter in rounding.parameters())
    after = rounding.state_dict()
    assert not torch.equal(after["stem.norm1.running_mean"], before["stem.norm1.running_mean"])


def test_the_norms_of_a_network_aware_of_int8_learn_in_training_alone() -> None:
    rounding, heard = aware(ready_students.student(SMALL).network), ready_students.clips(8, seed=2)

    def mean_after(training: bool) -> Tensor:
        rounding.train(training)
        with torch.no_grad():
            rounding(heard)
        return rounding.state_dict()["stem.norm1.running_mean"].clone()

    learnt = mean_after(True)
    assert torch.equal(mean_after(False), learnt)
    assert not torch.equal(mean_after(True), learnt)
