"""What is counted in an ExecuTorch program, against golden totals; the networks are of random weights."""

from dataclasses import replace

import pytest
import ready_students
import torch
from torch import nn

from budget.conventions import FOLDED, XNNPACK, UnknownLayerError
from budget.ledger import ledger, totals
from dynacp.export.executorch_program import Program
from dynacp.export.formats import Exported
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import TABLE1, Architecture, Block
from dynacp.student.int8 import quantised
from dynacp.student.layers import layers_of

SMALL = Architecture((Block(8, 8, stride=(2, 2)),), stem=(4, 8))


@pytest.fixture(scope="module")
def table1() -> Student:
    return ready_students.student(TABLE1)


def test_a_norm_that_stays_costs_xnnpack_two_macs_an_element() -> None:
    """Table 1's blocks, expanded channels x frequency x time behind the stride; two a channel are counted already."""
    elements = sum(
        (
            64 * 64 * 23,
            64 * 32 * 23,  # stride 2 x 1
            64 * 32 * 12,  # stride 1 x 2
            64 * 32 * 12,
            120 * 16 * 12,  # stride 2 x 1
            120 * 16 * 12,
        )
    )
    channels = 4 * 64 + 2 * 120
    assert (elements, channels) == (236_544, 496)
    folded, xnnpack = (totals(layers_of(TABLE1), convention=each) for each in (FOLDED, XNNPACK))
    assert xnnpack.macs - folded.macs == 2 * 236_544 - 2 * 496 == 472_096
    assert xnnpack.macs == 29_496_672 + 472_096 == 29_968_768
    assert xnnpack.parameters == folded.parameters == 60_786


@pytest.mark.parametrize(
    ("dtype", "size", "apart"),
    [
        ("float32", 4 * 60_786, 0),
        ("int8", 58_440 + 4 * 2_346, 2 * 4 * 1_354),  # a scale for each channel's kernel, and one for its bias
    ],
)
def test_table_1_as_a_program_costs_what_the_ledger_says_row_by_row(
    table1: Student, dtype: str, size: int, apart: int
) -> None:
    network = Program.prepared(table1.network)
    if dtype == "int8":
        network = quantised(network, ready_students.clips(8, seed=2), adds_in_16_bits=False)
    program = Program(Exported(table1, dtype, network=network))
    count = program.count()
    account = count.ledger
    assert (account.parameters, account.bytes, account.macs) == (60_786, size, 29_968_768)
    assert account.dtype == dtype
    expected = ledger(layers_of(TABLE1), convention=XNNPACK, dtype=dtype).rows
    assert [row[2:] for row in account.rows] == [row[2:] for row in expected if row.parameters]
    assert (count.statistics_bytes, count.front_end_bytes) == (0, 0)
    assert (count.quantiser_bytes > apart) == (dtype == "int8")
    assert size + count.quantiser_bytes < len(program.content) < size + count.quantiser_bytes + 64_000

    inputs = ready_students.clips(4, seed=3)
    with torch.inference_mode():
        wanted = network(inputs).numpy()
    off = abs(program.run(inputs.numpy()) - wanted).mean()
    assert off < (0.15 if dtype == "int8" else 1e-4) * wanted.std()  # in int8 a rounding may fall the other way


def test_what_xnnpack_leaves_to_others_is_refused() -> None:
    """A padded average pool, unless it is prepared."""
    student = ready_students.student(SMALL)
    with pytest.raises(UnknownLayerError, match=r"computes aten::avg_pool2d beside \d parts for XNNPACK"):
        Program(Exported(student, "float32")).count()
    prepared = Program(Exported(student, "float32", network=Program.prepared(student.network)))
    assert prepared.count().ledger.macs == totals(layers_of(SMALL), convention=XNNPACK).macs


def test_preparing_changes_no_answer_and_not_the_network() -> None:
    student, inputs = ready_students.student(SMALL), ready_students.clips(4, seed=4)
    prepared = Program.prepared(student.network)
    assert not any(isinstance(module, nn.ZeroPad2d) for module in student.network.modules())
    assert sum(isinstance(module, nn.ZeroPad2d) for module in prepared.modules()) == 1
    with torch.inference_mode():
        assert torch.allclose(prepared(inputs), student.network(inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "node"), [(nn.Sigmoid(), "XNNSigmoid"), (nn.Linear(89, 4), "XNNFullyConnected")], ids=["gate", "dense"]
)
def test_a_node_without_a_rule_is_refused(layer: nn.Module, node: str) -> None:
    student = ready_students.student(SMALL)
    behind = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), layer)
    with pytest.raises(UnknownLayerError, match=rf"holds a {node}, which this count has no rule for"):
        Program(Exported(student, "float32", network=behind)).count()
    alone = Program(Exported(student, "float32", network=behind[:1])).count().ledger
    assert alone.macs == (9 * 4 + 4) * 256 * 89


def test_a_norm_that_is_folded_leaves_no_trace_in_a_program() -> None:
    architecture = replace(SMALL, norm="depthwise")
    student = ready_students.student(architecture)
    account = Program(Exported(student, "float32", network=Program.prepared(student.network))).count().ledger
    assert account.macs == totals(layers_of(architecture), convention=FOLDED).macs
    assert len(account.rows) == 2 + 3 + 1
