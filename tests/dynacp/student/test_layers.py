"""The order in which a network computes, against its layers and against the modules as they run."""

from dataclasses import replace

import pytest
import torch
from architectures import random_architectures

from budget.layers import BatchNorm2d
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of, steps_of
from dynacp.student.model import DynaCP

NETWORKS = [TABLE1, BASELINE, replace(TABLE1, norm="depthwise"), *random_architectures(12, seed=10)]


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda a: a.key)
def test_every_layer_but_the_norms_is_a_step_that_reads_a_tensor_of_the_layer_s_input(
    architecture: Architecture,
) -> None:
    order = {step.name: step for step in steps_of(architecture)}
    layers = {layer.name: layer for layer in layers_of(architecture) if not isinstance(layer, BatchNorm2d)}
    assert layers.keys() == {name for name, step in order.items() if step.reads and not step.adds}
    for name, layer in layers.items():
        (read,) = order[name].reads
        assert (order[read].output, order[name].output) == (layer.input, layer.output), name


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda a: a.key)
def test_the_steps_come_in_the_order_in_which_the_modules_run(architecture: Architecture) -> None:
    order = [step.name for step in steps_of(architecture)]
    network, ran = DynaCP(architecture).eval(), list[str]()
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
    network(torch.zeros(1, 1, *architecture.input))
    assert [name for name in ran if name in order] == [name for name in order if name in ran]
    assert {name for name in order if name not in ran} == {"input"} | {
        step.name for step in steps_of(architecture) if step.adds
    }


def test_an_addition_adds_tensors_of_the_shape_that_it_writes() -> None:
    for architecture in NETWORKS:
        order = {step.name: step for step in steps_of(architecture)}
        for step in order.values():
            assert not step.adds or {order[name].output for name in step.reads} == {step.output}, step
