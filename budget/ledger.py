"""From layers to rows and totals, in a dtype and under a named convention."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from budget.conventions import Convention, Cost
from budget.dtypes import DEFAULT_DTYPE, dtype_named
from budget.layers import Count, Layer, Shape


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
        """The number of parameters of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """The MACs of all layers for one clip."""
        return sum(row.macs for row in self.rows)

    @property
    def bytes(self) -> int:
        """The bytes of all parameters in the ledger's dtype."""
        return sum(row.bytes for row in self.rows)


class Totals(NamedTuple):
    """A network's cost in all, or [networks] int64 arrays of many networks' costs."""

    parameters: Count
    macs: Count
    bytes: Count


def ledger(layers: Iterable[Layer], *, convention: Convention | None = None, dtype: str = DEFAULT_DTYPE) -> Ledger:
    """The row-by-row account of one network in a dtype (`budget.dtypes`), by default under the dtype's own convention.

    Raises `ValueError` for a dtype not listed, `UnknownLayerError` for a layer without a rule.
    """
    stored = dtype_named(dtype)
    convention = convention or stored.convention
    rows = []
    for layer in layers:
        output = layer.output
        cost = convention.rule(layer)(layer, output)
        rows.append(
            Row(layer.name, type(layer).__name__, output, cost.parameters, cost.macs, stored.bytes(cost))  # type: ignore[arg-type]
        )
    return Ledger(tuple(rows), convention.name, dtype)


def totals(layers: Iterable[Layer], *, convention: Convention | None = None, dtype: str = DEFAULT_DTYPE) -> Totals:
    """The sums of the same rows, for one network (ints) or for many at once (layers that hold arrays)."""
    stored = dtype_named(dtype)
    convention = convention or stored.convention
    cost = Cost(*map(sum, zip(*map(convention.cost, layers), strict=True)))
    return Totals(cost.parameters, cost.macs, stored.bytes(cost))
