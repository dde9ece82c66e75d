"""From layers to rows and totals, in a dtype and under a named convention."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

from budget.conventions import Convention, Cost
from budget.dtypes import DEFAULT_DTYPE, dtype_named
from budget.layers import Count, Layer, Shape


class Row(NamedTuple):
    """One layer of a ledger."""

    name: str
    """The layer's name, such as blocks.2.expand."""
    kind: str
    """The layer's type, such as Conv2d; in the count of an exported file, the file's own name for it."""
    output: Shape
    """(channels, frequency, time)."""
    parameters: int
    """The number of parameters."""
    macs: int
    """Multiply-accumulates for one clip."""
    bytes: int
    """Bytes that its parameters take."""


@dataclass(frozen=True)
class Ledger:
    """A network's cost for one clip, layer by layer."""

    rows: tuple[Row, ...]
    """The layers, in order."""
    convention: str
    """The name of the convention that it is counted by."""
    dtype: str
    """The name of the dtype of the weights; where a file mixes several, all of them, separated by commas."""

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

    def to_csv(self) -> str:
        """The rows as CSV under the names of `Row`'s fields; an output is written as channels x frequency x time."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Row._fields)
        for row in self.rows:
            writer.writerow(row._replace(output=" x ".join(map(str, row.output))))  # type: ignore[arg-type]
        return text.getvalue()


class Totals(NamedTuple):
    """The total cost of a network (ints), or of many at once (int64 arrays [networks])."""

    parameters: Count
    """The number of parameters."""
    macs: Count
    """Multiply-accumulates for one clip."""
    bytes: Count
    """Bytes that the parameters take in the dtype."""


def ledger(layers: Iterable[Layer], *, convention: Convention | None = None, dtype: str = DEFAULT_DTYPE) -> Ledger:
    """The ledger of one network's layers, stored in a dtype (`budget.dtypes`); `convention` None is the dtype's own.

    Raises `UserError` for a dtype not in `DTYPES`, `UnknownLayerError` for a layer that the convention has no rule for.
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
    """The sums over the rows that `ledger` gives, for one network or for many at once (layers that hold arrays).

    There must be one layer at least. `dtype` is a name in `budget.dtypes.DTYPES`; `convention` None is the dtype's own.
    Raises as `ledger` does.
    """
    stored = dtype_named(dtype)
    convention = convention or stored.convention
    cost = Cost(*map(sum, zip(*map(convention.cost, layers), strict=True)))
    return Totals(cost.parameters, cost.macs, stored.bytes(cost))
