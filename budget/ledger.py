"""From layers to rows and totals, under a named convention."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from budget.conventions import DCASE, Convention, Cost
from budget.layers import Layer, Shape

BYTES_PER_PARAMETER = {"float32": 4, "float16": 2, "int8": 1}
DEFAULT_DTYPE = "float16"


class Row(NamedTuple):
    """One layer of a ledger; `output` is `(channels, frequency, time)`."""

    name: str
    kind: str
    output: Shape
    parameters: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class Ledger:
    """A network's cost, row by row."""

    rows: tuple[Row, ...]
    convention: str
    dtype: str

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)


def bytes_per_parameter(dtype: str) -> int:
    """Bytes of one parameter at the dtype used at inference; raises `ValueError` for a dtype not listed."""
    try:
        return BYTES_PER_PARAMETER[dtype]
    except KeyError:
        raise ValueError(f"`dtype` must be one of {', '.join(BYTES_PER_PARAMETER)}, but got {dtype!r}.") from None


def ledger(layers: Iterable[Layer], *, convention: Convention = DCASE, dtype: str = DEFAULT_DTYPE) -> Ledger:
    """The row-by-row account of one network."""
    size = bytes_per_parameter(dtype)
    rows = []
    for layer in layers:
        output = layer.output
        parameters, macs = convention.rule(layer)(layer, output)
        rows.append(Row(layer.name, type(layer).__name__, output, parameters, macs, parameters * size))  # type: ignore[arg-type]
    return Ledger(tuple(rows), convention.name, dtype)


def totals(layers: Iterable[Layer], *, convention: Convention = DCASE) -> Cost:
    """Parameters and MACs alone, for one network (ints) or for many at once (layers that hold arrays)."""
    parameters, macs = zip(*(convention.cost(layer) for layer in layers), strict=True)
    return Cost(sum(parameters), sum(macs))
