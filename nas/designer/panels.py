"""What the page shows of a network: its cost against the limits, its choices with their prices, the way back inside."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from budget.conventions import CONVENTIONS, UnknownLayerError
from budget.limits import Verdict
from dynacp.student.architecture import PLAIN, as_text
from nas.editing.edits import MOVES
from nas.editing.judged import Choice, Judged, Value

NEAREST = 6
"""The single edits that are offered where a network does not fit."""

SHORTCUTS = {"1": "none", "2": "identity", "3": "pooled"}
"""By residual type, what its shortcut is called."""

LABELS = {"form": "shortcut, stride", "expansion": "channels inside", "width": "channels out"}
KEEPS = html.Span("a block with a shortcut keeps the channels that enter", className="soft")
SIGNS = {"add": "add", "duplicate": "copy", "up": "↑", "down": "↓", "remove": "remove"}
TITLES = {
    "add": "add a block behind this one",
    "duplicate": "duplicate this block",
    "up": "move this block up",
    "down": "move this block down",
    "remove": "remove this block",
}


def data(**values: str) -> dict[str, Any]:
    """Attributes of an element that `design.js` reads."""
    return {f"data-{name}": value for name, value in values.items()}


def millions(number: int) -> str:
    """MACs in millions, such as `+1.25`; `0` for none at all."""
    return f"{number / 1e6:+.2f}" if number else "0"


def price(value: Value) -> str:
    """What a value costs or frees, in words."""
    if not value.possible:
        return "gives no network"
    parts = [
        f"{value.more_macs:+,} MACs" if value.more_macs else "",
        f"{value.more_bytes:+,} bytes" if value.more_bytes else "",
        f"{value.more_activation_bytes:+,} bytes of activations" if value.more_activation_bytes else "",
    ]
    told = ", ".join(filter(None, parts)) or "costs nothing more"
    return f"{told}: {'fits' if value.fits else 'does not fit'}{'' if value.inside else '; outside the search space'}"


def button(value: Value, text: str, *, title: str = "") -> html.Button:
    """A value that can be clicked; what it costs stands below it, in millions of MACs, and in its title in full."""
    marks = {"now": value.chosen, "over": not value.fits, "outside": not value.inside}
    told = " ".join(filter(None, [title, "(now)" if value.chosen else price(value)]))
    delta = "" if value.chosen else millions(value.more_macs) if value.possible else "-"
    attributes: dict[str, Any] = {
        "data-edit": value.edit,
        "aria-pressed": str(value.chosen).lower(),
        "aria-label": f"{value.edit.rstrip('=').replace('=', ' ')}: {told}",
    }
    return html.Button(
        [html.Span(text), html.Small(delta)],
        type="button",
        title=told,
        className=" ".join(["value", *(name for name, holds in marks.items() if holds)]),
        disabled=not value.possible,
        **attributes,
    )


def costs(judged: Judged) -> list[Component]:
    """Bytes, MACs and activation memory against the limits, and the verdict in words."""
    account, terms, limits = judged.ledger, judged.terms, judged.terms.limits
    verdict, held, where = judged.verdict(account), judged.peak.bytes[terms.dtype], judged.peak.at
    told = f"bytes of activations at once, at {where}"
    return [
        html.P(
            f"This network {said(verdict)}.", className=f"verdict {fitting(verdict.fits)}", id="verdict", role="status"
        ),
        _meter("MACs for one second", account.macs, limits.max_macs, "macs"),
        _meter(f"bytes for {account.parameters:,} parameters", account.bytes, limits.max_bytes, "bytes"),
        html.Div([html.B(f"{held:,}", id="activations"), f" {told}"], className="meter")
        if limits.max_activation_bytes is None
        else _meter(told, held, limits.max_activation_bytes, "activations"),
        html.P(f"Counted as {terms.rule.name}, {terms.dtype}.", className="soft"),
    ]


def said(verdict: Verdict) -> str:
    """A verdict as the end of a sentence about a network."""
    return f"{'' if verdict.fits else 'is '}{verdict}"


def fitting(fits: bool) -> str:
    """The class of what fits, or does not."""
    return "fits" if fits else "over"


def _meter(what: str, used: int, limit: int, name: str) -> html.Div:
    share, left = used / limit, limit - used
    bar = html.Div(style={"width": f"{min(share, 1):.1%}"}, className=fitting(left >= 0))
    note = f"{share:.1%} of {limit:,}; {abs(left):,} {'left' if left >= 0 else 'too many'}"
    number = html.Div([html.B(f"{used:,}", id=name), f" {what}"])
    return html.Div([number, html.Div(bar, className="bar"), html.Div(note, className="soft")], className="meter")


def conventions(judged: Judged) -> html.Table:
    """The verdict under every convention, a row each."""
    rows = []
    for convention in CONVENTIONS.values():
        try:
            account = judged.counted(convention)
            fits = judged.verdict(account).fits
            cells = [f"{account.macs:,}", f"{account.bytes:,}", "fits" if fits else "over"]
        except UnknownLayerError:
            fits, cells = False, ["cannot count it", "", ""]
        name = html.Th(convention.name, title=convention.summary, scope="row")
        now = convention.name == judged.terms.rule.name
        rows.append(html.Tr([name, *map(html.Td, cells)], className=f"{fitting(fits)}{' now' * now}"))
    head = html.Tr([html.Th(text, scope="col") for text in ("convention", "MACs", "bytes", "verdict")])
    return html.Table([html.Thead(head), html.Tbody(rows)], className="conventions")


def way_back(judged: Judged) -> list[Component]:
    """How many single edits fit; where the network does not, the nearest ones that do, to click."""
    near = judged.fitting
    if judged.verdict(judged.ledger).fits:
        return [html.P(f"{len(near)} single edits of it fit as well.", className="soft")]
    if not near:
        return [html.P("No single edit of it fits: take two, or the nearest network of the space.")]
    offers = [button(value, _in_words(value.edit)) for value in near[:NEAREST]]
    return [html.P("One edit away from fitting:"), html.Div(offers, className="values")]


def _in_words(edit: str) -> str:
    """`width_4=56` as `width of block 4: 56`."""
    name, _, value = edit.partition("=")
    what, _, number = name.partition("_")
    return f"{what} of block {number}: {value}".rstrip(": ") if number else f"{what}: {value}"


def network(judged: Judged) -> list[Component]:
    """The network-wide choices, and fields for what only an edit sets."""
    here = judged.architecture
    size = as_text(here.input).replace("-", "x")
    return [
        *(_choice(choice.name, choice.values) for choice in judged.network_choices),
        html.Div([_entry("input", size, "input, mel bands x frames"), _entry("classes", str(here.classes), "classes")]),
    ]


def _choice(label: str, values: Sequence[Value], fields: Sequence[Component] = ()) -> html.Div:
    buttons = [button(value, _shown(value)) for value in values]
    return html.Div(
        [html.Span(label, className="label"), html.Div([*buttons, *fields], className="values")], className="choice"
    )


def _shown(value: Value) -> str:
    """The text on a button: a form says its shortcut and its stride."""
    residual, _, stride = value.text.partition(" ")
    return f"{SHORTCUTS[residual]} {stride}" if value.edit.startswith("form_") else value.text


def _entry(name: str, value: str, label: str) -> html.Span:
    """A field to type a value into, also one that the search space does not have; `design.js` sends it as an edit."""
    field = dcc.Input(value=value, type="text", debounce=True, className="entry")
    return html.Span(html.Label([html.Span(label, className="label"), field]), **data(entry=name))


def blocks(judged: Judged) -> list[Component]:
    """A part for each block: its choices with their prices, and what can be done with it."""
    front = html.Button("+ a block in front", type="button", className="value", **data(edit="add_0="))
    told: list[Component] = [html.Div(front, className="front")]
    for number, choices in enumerate(judged.block_choices, start=1):
        *own, moves = choices
        body = [_block_head(number, moves, judged), *(_block_choice(choice, number, judged) for choice in own)]
        told.append(html.Section(body, className="block", id=f"block-{number}"))
    return told


def _block_head(number: int, moves: Choice, judged: Judged) -> html.Header:
    rows = [row for row in judged.ledger.rows if row.name.startswith(f"blocks.{number}.")]
    channels, frequency, time = rows[-1].output
    macs, size = sum(row.macs for row in rows), sum(row.bytes for row in rows)
    signs = [button(value, SIGNS[move], title=TITLES[move]) for move, value in zip(MOVES, moves.values, strict=True)]
    return html.Header(
        [
            html.H3(f"Block {number}"),
            html.Span(f"{macs / 1e6:.2f} MMACs, {size:,} bytes"),
            html.Span(f"leaves {channels} channels, {frequency} x {time}", className="soft"),
            html.Div(signs, className="values moves"),
        ]
    )


def _block_choice(choice: Choice, number: int, judged: Judged) -> html.Div:
    name, block = choice.name.partition("_")[0], judged.architecture.blocks[number - 1]
    fields = {
        "dilation": [_entry(f"dilation_{number}", str(block.dilation), "other")],
        "expansion": [_entry(f"channels_{number}", str(block.expanded), "other")],
        "width": [_entry(f"width_{number}", str(block.out), "other")] if block.residual == PLAIN else [KEEPS],
    }
    return _choice(LABELS.get(name, name), choice.values, fields.get(name, []))
