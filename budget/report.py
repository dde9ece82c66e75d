"""Ledgers and verdicts as tables for a terminal."""

from collections.abc import Mapping

from rich.table import Table

from budget.conventions import CONVENTIONS
from budget.dtypes import DTYPES
from budget.layers import Shape
from budget.ledger import Ledger
from budget.limits import Limits
from budget.memory import Peak

SHAPE = "channels x frequency x time"
"""The axes of an output's shape, as captions of tables name them."""


def ledger_table(account: Ledger, title: str, *, kinds: bool = True) -> Table:
    """A table of a ledger: a row for each layer, lines between blocks, and totals; `kinds` adds the layers' types.

    The ledger must have one row at least.
    """
    view = Table(title=title, title_justify="left", show_footer=True)
    macs, size = account.macs, account.bytes
    view.add_column("layer", footer="total", no_wrap=True)
    if kinds:
        view.add_column("kind", no_wrap=True)
    view.add_column("output", justify="right", no_wrap=True)
    view.add_column("parameters", justify="right", footer=f"{account.parameters:,}", no_wrap=True)
    view.add_column("MACs", justify="right", footer=f"{macs:,}", no_wrap=True)
    view.add_column("share", justify="right", no_wrap=True)
    view.add_column(f"bytes ({account.dtype})", justify="right", footer=f"{size:,}")
    for row, following in zip(account.rows, [*account.rows[1:], account.rows[-1]], strict=True):
        view.add_row(
            row.name,
            *([row.kind] if kinds else []),
            _size(row.output),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
            f"{row.macs / macs:.1%}" if row.macs else "",
            f"{row.bytes:,}" if row.bytes else "",
            end_section=_part(row.name) != _part(following.name),
        )
    view.caption = f"Outputs: {SHAPE}"
    view.caption_justify = "left"
    return view


def headroom_table(account: Ledger, activations: Peak, limits: Limits) -> Table:
    """A table of how much of each limit a network uses, and how much is left; activations in the ledger's dtype."""
    view = Table(title="Headroom", title_justify="left")
    for name in ("limit", "used", "of", "share", "left"):
        view.add_column(name, justify="left" if name == "limit" else "right")
    rows = [("MACs", account.macs, limits.max_macs), ("bytes", account.bytes, limits.max_bytes)]
    if limits.max_activation_bytes is not None:
        rows.append(("bytes of activations", activations.bytes[account.dtype], limits.max_activation_bytes))
    for name, used, limit in rows:
        left = limit - used
        style = "red" if left < 0 else None
        view.add_row(name, f"{used:,}", f"{limit:,}", f"{used / limit:.2%}", f"{left:,}", style=style)
    return view


def activation_table(peak: Peak) -> Table:
    """A table of the tensors that are held at the peak of activation memory, and of their bytes in each dtype."""
    view = Table(title=f"Activations take most memory at {peak.at}", title_justify="left", show_footer=True)
    view.add_column("tensor held", footer="total", no_wrap=True)
    view.add_column("output", justify="right", no_wrap=True)
    view.add_column("elements", justify="right", footer=f"{peak.elements:,}", no_wrap=True)
    for dtype, size in peak.bytes.items():
        view.add_column(f"bytes ({dtype})", justify="right", footer=f"{size:,}")
    for tensor in peak.alive:
        sizes = (f"{dtype.activation_bytes * tensor.elements:,}" for dtype in DTYPES.values())
        view.add_row(tensor.name, _size(tensor.output), f"{tensor.elements:,}", *sizes)
    view.caption = (
        f"Outputs: {SHAPE}. One layer at a time, whole tensors; norms and activations in place, additions where they "
        "can be"
    )
    view.caption_justify = "left"
    return view


def convention_table(
    accounts: Mapping[str, Ledger], activations: Peak, limits: Limits, witnesses: Mapping[str, str]
) -> Table:
    """A table of counts and verdicts, a row for each convention.

    `accounts` are ledgers by the name of their convention (of `CONVENTIONS`); what activations take does not depend on
    it. `witnesses` say in words, by convention
    too, what independent tools counted, such as "fvcore: 31,019,968"; where there are any, they fill a last column.
    """
    view = Table(title="The same network under every convention", title_justify="left")
    for name in ("convention", "parameters", "MACs", "bytes", "verdict"):
        view.add_column(
            name, justify="left" if name in ("convention", "verdict") else "right", no_wrap=name != "verdict"
        )
    view.caption = "\n".join(f"{name}: {CONVENTIONS[name].summary}" for name in accounts)
    view.caption_justify = "left"
    if witnesses:
        view.add_column("counted on the built network by")
    for name, account in accounts.items():
        verdict = limits.verdict(account, activations)
        cells = [name, f"{account.parameters:,}", f"{account.macs:,}", f"{account.bytes:,}", str(verdict)]
        view.add_row(*cells, *([witnesses.get(name, "")] if witnesses else []), style=None if verdict.fits else "red")
    return view


def _size(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _part(name: str) -> str:
    """`blocks.2` for `blocks.2.expand`: what the rows are grouped by."""
    return name.rpartition(".")[0]
