"""Where a network's cost goes, what its maps see, and its forms to take along."""

from collections.abc import Sequence
from itertools import groupby
from urllib.parse import quote

from dash import html
from dash.development.base_component import Component

from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.ledger import Row
from budget.limits import Limits
from dynacp.audio.features import FrontEnd
from dynacp.student import paper_table
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.layers import steps_of
from dynacp.student.receptive_field import ReceptiveField, receptive_fields
from nas.designer.layout import attributes
from nas.editing.judged import Judged


def ledger(judged: Judged) -> list[Component]:
    """The cost by part of the network as bars, with the shape that leaves it and what it sees; then layer by layer."""
    account, fields = judged.ledger, list(receptive_fields(judged.architecture))
    seen = dict(zip(["stem", *(f"block {n}" for n in range(1, len(fields)))], fields, strict=True))
    body = []
    for part, rows in groupby(account.rows, part_of):
        mine = list(rows)
        channels, frequency, time = mine[-1].output
        sees = in_bands_and_time(seen[part]) if part in seen else "everything"
        macs, size = sum(row.macs for row in mine), sum(row.bytes for row in mine)
        cells = [html.Td(f"{channels} x {frequency} x {time}"), html.Td(sees)]
        bars = [_bar(macs, account.macs, f"{macs:,}"), _bar(size, account.bytes, f"{size:,}")]
        body.append(html.Tr([html.Th(part, scope="row"), *bars, *cells]))
    head = ("part", "MACs", f"bytes in {account.dtype}", "leaves (channels x frequency x time)", "a position sees")
    return [
        table(head, body, "parts"),
        html.P(
            "What one position of a map sees of the input, padding at the edges included. A clip is "
            f"{judged.architecture.input[0]} bands and 1,000 ms.",
            className="soft",
        ),
        html.Details([html.Summary("Layer by layer"), _layers(judged)]),
    ]


def part_of(row: Row) -> str:
    """`block 2` for blocks.2.expand, `stem` for stem.conv1."""
    first, *rest = row.name.split(".")
    return f"block {rest[0]}" if first == "blocks" else first


def in_bands_and_time(field: ReceptiveField) -> str:
    """A receptive field in words, such as `31 bands, 120 ms`."""
    front_end = FrontEnd()
    samples = (field.frames - 1) * front_end.hop_samples + front_end.window_samples
    return f"{field.bands} bands, {1_000 * samples / front_end.sample_rate:,.0f} ms"


def _bar(used: int, of: int, text: str) -> html.Td:
    share = used / of if of else 0.0
    inner = html.Div(style={"width": f"{share:.1%}"}, className="fits")
    return html.Td([html.Div(inner, className="bar"), f"{text} ", html.Span(f"{share:.1%}", className="soft")])


def table(head: tuple[str, ...], body: Sequence[Component], name: str) -> html.Div:
    """A table with these column heads and rows, of the class `name`; a narrow window scrolls it."""
    titles = html.Thead(html.Tr([html.Th(text, scope="col") for text in head]))
    return html.Div(html.Table([titles, html.Tbody(body)], className=name), className="wide")


def _layers(judged: Judged) -> html.Div:
    account, rows = judged.ledger, []
    for row in account.rows:
        texts = (row.kind, " x ".join(map(str, row.output)), f"{row.parameters:,}")
        bars = [_bar(row.macs, account.macs, f"{row.macs:,}"), _bar(row.bytes, account.bytes, f"{row.bytes:,}")]
        rows.append(html.Tr([html.Th(row.name, scope="row"), *bars, *map(html.Td, texts)]))
    return table(("layer", "MACs", "bytes", "kind", "output", "parameters"), rows, "layers")


def _row(name: str, *cells: str) -> html.Tr:
    return html.Tr([html.Th(name, scope="row"), *map(html.Td, cells)])


def memory(judged: Judged) -> list[Component]:
    """The tensors that are held at once where activations take most memory."""
    peak, each = judged.peak, DTYPES[judged.terms.dtype].activation_bytes
    rows = [
        _row(tensor.name, " x ".join(map(str, tensor.output)), f"{each * tensor.elements:,}") for tensor in peak.alive
    ]
    steps = sum(1 for _ in steps_of(judged.architecture))
    note = (
        f"Held at {peak.at}, of {steps} steps the one that takes most, in a runtime that computes one layer at a time:"
    )
    return [html.P(note), table(("tensor", "channels x frequency x time", "bytes"), rows, "memory")]


def module(architecture: Architecture) -> str:
    """The PyTorch module, printed."""
    from dynacp.student.model import DynaCP  # imports torch, which the page needs for this alone

    return str(DynaCP(architecture))


def commands(judged: Judged) -> str:
    """What to do with the network once it is saved as network.json, under the page's limits and dtype."""
    dtype, given = judged.terms.dtype, judged.terms.limits.given
    changed = {name: value for name, value in given.items() if value != Limits().given.get(name)}
    terms = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
    settings = [f"limits.{name}={value}" for name, value in changed.items()]
    if dtype != DEFAULT_DTYPE:
        terms, settings = [*terms, f"--dtype {dtype}"], [*settings, f"dtype={dtype}"]
    usual = judged.architecture.input == TABLE1.input
    if not usual:
        settings += _front_end(*judged.architecture.input)
    train = (
        "python -m dynacp train network.json --data TAU --out runs/network --mn mn10_as_mAP_471.pt --dymn dymn10_as.pt"
    )
    lines = [
        " ".join(["python -m budget network.json --witness", *terms]),
        " ".join([train, *(["--set", *settings] if settings else [])]),
        f"python -m dynacp export runs/network --data TAU --to {'int8' if dtype == 'int8' else 'onnx'}",
    ]
    if usual:
        lines.append(" ".join(["python -m nas.search --data TAU --baseline network.json", *terms]))
    else:
        lines.append("# nas.search has inputs of {} x {}, so this network cannot be its baseline".format(*TABLE1.input))
    return "\n".join(lines)


def _front_end(mels: int, frames: int) -> list[str]:
    """Settings of a front end that gives such an input; none where no hop gives so many frames."""
    rate = FrontEnd().sample_rate
    hop = rate // max(1, frames - 1)
    for each in range(max(1, hop - 1), hop + 1):
        if FrontEnd(hop_samples=each).frames(rate) == frames:
            return [f"front_end.mels={mels}", f"front_end.hop_samples={each}"]
    return []


def take_along(judged: Judged) -> list[Component]:
    """The network in every form, each to copy."""
    here = judged.architecture
    forms = {
        "network.json": ("JSON", here.to_json()),
        "commands.sh": ("Commands", commands(judged)),
        "network.md": ("Table in the paper's form, Markdown", paper_table.markdown(here)),
        "network.tex": ("Table in the paper's form, LaTeX", paper_table.latex(here)),
        "network-ledger.csv": ("Ledger, CSV", judged.ledger.to_csv()),
        "network.txt": ("PyTorch module", module(here)),
    }
    return [_form(number, file, *form) for number, (file, form) in enumerate(forms.items())]


def _form(number: int, file: str, name: str, text: str) -> html.Details:
    """A form of the network, to copy or to save as a file."""
    copy = html.Button("copy", type="button", **attributes(("data-copy", f"form-{number}")))
    save = html.A(f"save as {file}", href=f"data:text/plain;charset=utf-8,{quote(text)}", download=file)
    shown = html.Pre(text, id=f"form-{number}")
    return html.Details([html.Summary(name), html.Div([copy, save], className="values"), shown], open=number < 2)
