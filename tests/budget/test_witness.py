"""Independent counters on the built network agree with the ledger, exactly, over random architectures of the space."""

from dataclasses import replace
from itertools import product

import pytest
from architectures import random_architectures

from budget.conventions import CONVENTIONS
from budget.layers import BatchNorm2d, GlobalAveragePool, Pool2d
from budget.ledger import ledger, totals
from budget.limits import Limits
from budget.memory import peak
from budget.witness import InputShape, by_fvcore, by_thop, by_torch, by_torchinfo
from dynacp.student.architecture import BASELINE, TABLE1, Architecture
from dynacp.student.layers import layers_of, steps_of
from dynacp.student.model import DynaCP
from nas.space.network_wide import EVERY
from nas.space.space import Space

WITNESSED = 200
WIDE = Space(network_wide=EVERY)

VARIANTS = [
    replace(TABLE1, pool=pool, norm=norm, activation=activation)
    for pool, norm, activation in product(("average", "maximum"), ("sum", "depthwise"), ("relu6", "relu"))
] + [
    BASELINE,
    replace(TABLE1, response="global"),
    replace(BASELINE, response="global"),
    replace(TABLE1, classes=7, input=(128, 65)),
]


def built(architecture: Architecture) -> tuple[DynaCP, InputShape]:
    return DynaCP(architecture).eval(), (1, 1, *architecture.input)


def macs(architecture: Architecture, convention: str) -> int:
    return int(totals(layers_of(architecture), convention=CONVENTIONS[convention]).macs)


def test_hundreds_of_random_architectures_count_as_torchinfo_and_torch_count_them() -> None:
    """Half of them differ in their blocks alone, half in the network-wide choices as well."""
    architectures = random_architectures(WITNESSED // 2, seed=1)
    architectures += random_architectures(WITNESSED // 2, seed=1, space=WIDE)
    fitting = 0
    for architecture in architectures:
        module, shape = built(architecture)
        account = ledger(layers_of(architecture))
        assert by_torchinfo(module, shape) == (account.parameters, account.macs), architecture
        assert by_torch(module, shape) == macs(architecture, "convolutions"), architecture
        fitting += Limits().verdict(account, peak(steps_of(architecture))).fits
    assert 20 < fitting < WITNESSED - 20, "the sample must hold architectures that fit and architectures that do not"


@pytest.mark.parametrize(
    "architecture", [*VARIANTS, *random_architectures(24, seed=2, space=WIDE)], ids=lambda a: a.key
)
def test_every_tool_counts_by_the_convention_that_bears_its_name(architecture: Architecture) -> None:
    module, shape = built(architecture)
    assert by_torchinfo(module, shape) == totals(layers_of(architecture))[:2]
    assert by_torch(module, shape) == macs(architecture, "convolutions")
    assert by_fvcore(module, shape) == macs(architecture, "fvcore")
    assert by_thop(module, shape) == macs(architecture, "thop")


@pytest.mark.parametrize("architecture", [TABLE1, BASELINE, *random_architectures(8, seed=3)], ids=lambda a: a.key)
def test_thop_and_fvcore_differ_by_norms_average_pools_and_classes(architecture: Architecture) -> None:
    """thop takes 4 MACs an element of batch norm to fvcore's 2, one an output element of an average pool to none, and
    divides each class's sum in the global pool."""
    layers = list(layers_of(architecture))

    def elements(kind: type) -> int:
        return sum(layer.output[0] * layer.output[1] * layer.output[2] for layer in layers if isinstance(layer, kind))  # type: ignore[misc]

    module, shape = built(architecture)
    difference = -by_fvcore(module, shape) + by_thop(module, shape)
    assert difference == 2 * elements(BatchNorm2d) + elements(Pool2d) + architecture.classes
    assert any(isinstance(layer, GlobalAveragePool) for layer in layers)


def test_the_rows_of_the_ledger_are_the_modules_of_the_network() -> None:
    """Row by row, not only in total: each row names a module with as many parameters."""
    for architecture in (TABLE1, BASELINE, *random_architectures(20, seed=4, space=WIDE)):
        modules = dict(DynaCP(architecture).named_modules())
        rows = ledger(layers_of(architecture)).rows
        for row in rows:
            assert row.parameters == sum(p.numel() for p in modules[row.name].parameters()), row
        weighted = {name for name, module in modules.items() if list(module.parameters(recurse=False))}
        assert weighted == {row.name for row in rows if row.parameters}
