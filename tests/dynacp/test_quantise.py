"""Students in int8: close to what they were, counted in their ONNX graphs, and trained with rounding."""

import onnx
import pytest
import settled
import torch
from onnx import TensorProto
from torch import Tensor, nn

from budget.conventions import FOLDED
from budget.ledger import ledger
from dynacp.architecture import TABLE1, Architecture, Block
from dynacp.export.network import Exported
from dynacp.export.onnx_form import OnnxGraph
from dynacp.predict import Student
from dynacp.quantise import aware, quantised

SMALL = Architecture((Block(16, 16, dilation=2), Block(16, 16, residual=3, stride=(2, 2))), stem=(8, 16))


@pytest.fixture(scope="module")
def table1() -> Student:
    return settled.student(TABLE1)


@pytest.fixture(scope="module")
def in_int8(table1: Student) -> nn.Module:
    return quantised(table1.network, settled.clips(40, seed=2))  # two batches of calibration


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
    expected = ledger(TABLE1.layers(), convention=FOLDED, dtype="int8").rows
    assert [row[2:] for row in account.rows] == [row[2:] for row in expected if row.parameters]
    assert count.quantiser_bytes > 4 * 1_354  # a scale for each output channel, and those of activations
    assert count.front_end_bytes == 0


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
        heard = settled.clips(24, seed=seed)
        wanted, got = answers(table1.network, heard), answers(in_int8, heard)
        centred = torch.stack([(each - each.mean(dim=0)).flatten() for each in (wanted, got)])
        assert 0.75 < torch.corrcoef(centred)[0, 1] < 0.9999


def test_the_graph_answers_as_the_network_in_int8(in_int8: nn.Module, graph: OnnxGraph) -> None:
    """But for a rounding here and there that falls the other way."""
    heard = settled.clips(24, seed=3)
    wanted = answers(in_int8, heard)
    off = (torch.from_numpy(graph.run(heard.numpy())) - wanted).abs()
    assert off.mean() < 0.15 * wanted.std()


def test_kernels_in_int8_are_symmetric_with_a_scale_for_each_channel(in_int8: nn.Module) -> None:
    kernels = [tensor for tensor in in_int8.state_dict().values() if tensor.dtype == torch.int8]
    assert sum(kernel.numel() for kernel in kernels) == 58_440
    for kernel in kernels:
        assert kernel.min() >= -127
        assert (kernel.flatten(1).abs().amax(dim=1) == 127).all(), "each channel has its own largest weight as 127"


def test_a_network_in_int8_hears_any_number_of_clips(in_int8: nn.Module) -> None:
    heard = settled.clips(3, seed=3)
    together = answers(in_int8, heard)
    assert torch.equal(torch.cat([answers(in_int8, clip) for clip in heard.split(1)]), together)


def test_a_network_aware_of_int8_starts_from_the_same_parameters_and_rounds() -> None:
    network, heard = settled.student(SMALL).network, settled.clips(8, seed=2)
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
    rounding, heard = aware(settled.student(SMALL).network), settled.clips(8, seed=2)

    def mean_after(training: bool) -> Tensor:
        rounding.train(training)
        with torch.no_grad():
            rounding(heard)
        return rounding.state_dict()["stem.norm1.running_mean"].clone()

    learnt = mean_after(True)
    assert torch.equal(mean_after(False), learnt)
    assert not torch.equal(mean_after(True), learnt)
