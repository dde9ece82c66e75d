"""The peak of activation memory: by hand, and against the graph that PyTorch exports."""

from dataclasses import replace

import pytest
import torch
from architectures import random_architectures
from graph_memory import peak_activations
from torch import nn

from budget.memory import Step, peak
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.export.formats import Exported
from dynacp.export.onnx_graph import onnx_graph
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import BASELINE, TABLE1, Architecture, Block
from dynacp.student.layers import steps_of
from dynacp.student.model import DynaCP


def names(held: tuple[Step, ...]) -> list[str]:
    return [tensor.name for tensor in held]


def test_table_1_holds_most_while_the_first_block_pools() -> None:
    """The block's input waits for the identity; pool and convolution both read the expanded tensor. 64 x 23 positions,
    32 channels once and 64 three times."""
    most = peak(steps_of(TABLE1))
    assert most.at == "blocks.1.pool"
    assert names(most.alive) == ["stem.conv2", "blocks.1.expand", "blocks.1.depthwise", "blocks.1.pool"]
    assert most.elements == 64 * 23 * (32 + 3 * 64) == 329_728
    assert most.bytes == {"float32": 1_318_912, "float16": 659_456, "int8": 329_728}


def test_the_baseline_which_has_no_parallel_pool_holds_one_tensor_less() -> None:
    """64 x 17 positions on 65 frames. The second block holds as much; the first one of equals is named."""
    most = peak(steps_of(BASELINE))
    assert most.at == "blocks.1.depthwise"
    assert names(most.alive) == ["stem.conv2", "blocks.1.expand", "blocks.1.depthwise"]
    assert most.elements == 64 * 17 * (32 + 2 * 64) == 174_080


def test_a_narrow_network_holds_most_in_its_stem() -> None:
    """8 x 128 x 45 and 32 x 64 x 23 elements; then 40 channels at 64 x 23 are fewer, and no shortcut waits."""
    most = peak(steps_of(Architecture((Block(8, 8, stride=(2, 2)),))))
    assert names(most.alive) == ["stem.conv1", "stem.conv2"]
    assert most.elements == 46_080 + 47_104


def test_a_global_response_norm_holds_its_input_the_squares_and_their_means() -> None:
    """64 channels at 64 x 23 positions twice, and 64 means; before it 32 + 3 x 8 channels, then 64 + 8, are fewer."""
    most = peak(steps_of(Architecture((Block(8, 64),), response="global")))
    assert most.at == "blocks.1.means"
    assert names(most.alive) == ["blocks.1.project", "blocks.1.squares", "blocks.1.means"]
    assert most.elements == 2 * 64 * 64 * 23 + 64 == 188_480


def chain(*more: Step) -> list[Step]:
    return [Step("a", (), (1, 5, 2)), Step("b", ("a",), (2, 5, 2)), Step("c", ("b",), (2, 5, 2)), *more]


def test_a_tensor_is_held_until_it_is_last_read() -> None:
    assert peak(chain()).elements == 20 + 20  # a is gone
    assert peak(chain(Step("d", ("a",), (1, 1, 1)))).elements == 10 + 20 + 20
    assert peak(chain(Step("d", ("c", "a"), (4, 5, 2)))).elements == 10 + 20 + 40  # at d, without b


def test_an_addition_takes_an_operand_s_place_unless_both_are_read_again() -> None:
    total = Step("sum", ("b", "c"), (2, 5, 2), adds=True)
    assert peak(chain(total)).elements == 20 + 20
    assert peak(chain(total, Step("d", ("sum", "b"), (1, 1, 1)))).elements == 20 + 20 + 1  # the sum lies where c did
    most = peak(chain(total, Step("d", ("sum", "b", "c"), (1, 1, 1))))
    assert (most.at, most.elements) == ("d", 20 + 20 + 20 + 1)


def test_a_step_that_reads_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="d reads z, which no step before it writes"):
        peak(chain(Step("d", ("c", "z"), (1, 1, 1))))


def exported_peak(architecture: Architecture, dtype: str = "float32", *, waveform: bool = False) -> int:
    classes = tuple(map(str, range(architecture.classes)))
    network = DynaCP(architecture).eval()
    for parameter in network.parameters():
        nn.init.uniform_(parameter)  # an exporter leaves out what adds nothing
    student = Student(network, LogMel(FrontEnd()), classes, torch.float32)
    return peak_activations(onnx_graph(Exported(student, dtype, waveform=waveform)))


AS_IT_IS, ON_DEPTHWISE, WITHOUT_POOL = random_architectures(3, seed=8)
VARIANTS = [
    AS_IT_IS,
    replace(ON_DEPTHWISE, norm="depthwise", pool="maximum", input=(128, 65)),
    replace(WITHOUT_POOL, norm="depthwise", family="cp"),
    Architecture((Block(8, 64), Block(8, 64, residual=2), Block(8, 80)), response="global"),
]


@pytest.mark.parametrize("architecture", [TABLE1, BASELINE, *VARIANTS], ids=lambda a: a.key)
def test_the_exported_graph_holds_as_much_by_its_own_edges(architecture: Architecture) -> None:
    assert exported_peak(architecture) == peak(steps_of(architecture)).elements


def test_a_graph_that_casts_or_starts_from_samples_holds_as_many_elements() -> None:
    """The front end and its samples are no activations of the network."""
    assert exported_peak(TABLE1, "float16", waveform=True) == 329_728
