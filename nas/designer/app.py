"""The page as a Dash app: one callback answers every edit with all that depends on the network."""

import sys
import traceback
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import dash
from dash import ClientsideFunction, Input, Output, State, ctx, dcc, html, no_update, set_props
from dash.development.base_component import Component

from budget.conventions import CONVENTIONS
from budget.dtypes import DTYPES
from budget.errors import UserError
from budget.limits import Limits
from dynacp.student.architecture import NAMED, Architecture, resolve, with_classes
from nas.designer import details, panels
from nas.designer.links import to_text
from nas.editing.edits import edited
from nas.editing.judged import Judged, Terms, space_around

PANELS = {
    "costs": panels.costs,
    "way-back": panels.way_back,
    "conventions": panels.conventions,
    "network-wide": panels.network,
    "blocks": panels.blocks,
}
"""By the id of a part of the page, what fills it."""

TERMS = ("max-macs", "max-bytes", "max-activation-bytes", "dtype", "convention")
"""The ids of the fields that say what a network is judged by."""

DETAILS = {"cost": "Where the cost goes", "take-along": "Take along"}
"""By the id of a part of the page that is filled while it is open, the label of its tab."""

DTYPE_S_OWN = "as the dtype runs"
"""The option for the convention that a dtype has by itself."""


def create_app(start: Architecture, terms: Terms) -> dash.Dash:
    """The page, which opens with the network `start` judged by `terms`; nothing is served yet."""
    app = dash.Dash(
        __name__,
        title="Design a network for a budget",
        update_title="",
        serve_locally=True,
        compress=False,
        assets_folder=str(Path(__file__).parent / "assets"),
        on_error=_told,
    )
    app.layout = lambda: _layout(terms)
    _answer(app, start)
    _fill(app)
    app.clientside_callback(
        ClientsideFunction("design", "remember"),
        Output("past", "data"),
        Output("network", "data", allow_duplicate=True),
        Output("undo", "disabled"),
        Output("redo", "disabled"),
        Input("network", "data"),
        Input("undo", "n_clicks"),
        Input("redo", "n_clicks"),
        State("past", "data"),
        prevent_initial_call="initial_duplicate",
    )
    return app


def _answer(app: dash.Dash, start: Architecture) -> None:
    """The callback that answers edits, undone networks, opened files and changed terms."""

    @app.callback(
        Output("network", "data"),
        Output("message", "children"),
        *(Output(part, "children") for part in PANELS),
        Input("edit", "data"),
        Input("network", "data"),
        Input("file", "contents"),
        State("address", "search"),
        *(Input(name, "value") for name in TERMS),
    )
    def answer(
        edit: dict[str, Any] | None, network: str | None, file: str | None, search: str | None, *terms: str
    ) -> list[Any]:
        before = Architecture.from_json(network) if network else _addressed(search) or start
        now = before
        if ctx.triggered_id == "edit" and edit:
            now = _edited(before, str(edit.get("text")))
        elif ctx.triggered_id == "file" and file:
            now = _opened(file)
        judged = Judged(now, _terms_of(*terms))
        parts: list[Any] = [fill(judged) for fill in PANELS.values()]
        return [to_text(now), _outside(judged), *parts]


def _fill(app: dash.Dash) -> None:
    """The callback that fills the open tab with details of the network."""

    @app.callback(
        *(Output(part, "children") for part in DETAILS),
        Input("tab", "value"),
        Input("network", "data"),
        *(Input(name, "value") for name in TERMS),
        prevent_initial_call=True,
    )
    def fill(tab: str, network: str, *terms: str) -> list[Any]:
        judged = Judged(Architecture.from_json(network), _terms_of(*terms)) if tab in DETAILS else None
        filled: dict[str, Any] = dict.fromkeys(DETAILS, no_update)
        if judged and tab == "cost":
            filled[tab] = [*details.ledger(judged), *details.memory(judged)]
        elif judged:
            filled[tab] = details.take_along(judged)
        return list(filled.values())


def _terms_of(macs: str, size: str, held: str, dtype: str, convention: str) -> Terms:
    return Terms(_limits(macs, size, held), dtype, "" if convention == DTYPE_S_OWN else convention)


def _edited(before: Architecture, text: str) -> Architecture:
    what, _, name = text.partition("=")
    if what == "start":
        return with_classes(resolve(name), before.classes) if name in NAMED else before
    return edited(before, text, space_around(before))


def _outside(judged: Judged) -> Component | str:
    if not judged.outside:
        return ""
    return html.P(f"Outside of what the search proposes: {judged.outside}", className="soft")


def _limits(macs: str, size: str, held: str) -> Limits:
    return Limits(
        max_bytes=_limit("bytes", size),
        max_macs=_limit("MACs", macs),
        max_activation_bytes=_limit("bytes of activations", held) if str(held or "").strip() else None,
    )


def _limit(name: str, text: str) -> int:
    try:
        number = float(str(text).replace(",", ""))
    except ValueError:
        number = float("nan")
    if not 1 <= number < 1e18:
        raise UserError(f"the limit of {name} must be a number from 1 on, but got {str(text)[:80]!r}.")
    return int(number)


def _addressed(search: str | None) -> Architecture | None:
    """The network in the page's address, if there is one."""
    text = parse_qs((search or "").removeprefix("?")).get("network")
    return Architecture.from_json(text[0]) if text else None


def _opened(file: str) -> Architecture:
    """The network in a file that the browser hands over: a data URL, as `dcc.Upload` gives it."""
    try:
        text = b64decode(file.partition(",")[2], validate=True).decode("utf-8-sig")
    except ValueError:
        raise UserError("the file is no text in UTF-8; open the JSON file of an architecture.") from None
    return Architecture.from_json(text)


def _told(error: Exception) -> None:
    """Show an error on the page in place of the answer of a callback."""
    if not isinstance(error, UserError):
        traceback.print_exception(error, file=sys.stderr)
    told = (
        str(error) if isinstance(error, UserError) else f"This failed ({type(error).__name__}); the terminal says more."
    )
    set_props("message", {"children": html.P(told, className="verdict over", role="alert")})


def _layout(terms: Terms) -> Component:
    stores = [dcc.Store(id=name) for name in ("edit", "network", "past")]
    return html.Main(
        [*stores, dcc.Location(id="address", refresh=False), _top(), _terms(terms), html.Div(id="message"), _body()]
    )


def _top() -> Component:
    starts = [
        html.Button(text, type="button", **panels.data(edit=f"start={name}"))
        for name, text in (("table1", "Table 1 of the DynaCP paper"), ("baseline", "DCASE baseline"))
    ]
    return html.Header(
        [
            html.H1("Design a network for a budget"),
            html.Div(
                [
                    html.Span("Start from", className="label"),
                    *starts,
                    dcc.Upload(html.Button("a JSON file ...", type="button"), id="file", className="file"),
                    html.Button("Undo", id="undo", type="button", disabled=True, title="Ctrl+Z"),
                    html.Button("Redo", id="redo", type="button", disabled=True, title="Ctrl+Y"),
                ],
                className="values",
            ),
        ],
        className="top",
    )


def _terms(terms: Terms) -> Component:
    limits = terms.limits
    held = limits.max_activation_bytes
    numbers = [
        ("max-macs", "at most MACs", f"{limits.max_macs:,}"),
        ("max-bytes", "at most bytes", f"{limits.max_bytes:,}"),
        ("max-activation-bytes", "at most bytes of activations", "" if held is None else f"{held:,}"),
    ]
    fields = [
        html.Label(
            [
                html.Span(text, className="label"),
                dcc.Input(id=name, value=value, type="text", debounce=True, placeholder="no limit"),
            ]
        )
        for name, text, value in numbers
    ]
    choices = [
        ("dtype", "parameters in", list(DTYPES), terms.dtype),
        ("convention", "MACs counted", [DTYPE_S_OWN, *CONVENTIONS], terms.convention or DTYPE_S_OWN),
    ]
    radios = [
        html.Fieldset([html.Legend(text), dcc.RadioItems(values, now, id=name, inline=True)])
        for name, text, values, now in choices
    ]
    return html.Div([*fields, *radios], className="terms")


def _body() -> Component:
    side = [html.Div(id="costs"), html.Div(id="way-back"), html.Div(id="conventions")]
    edits = [html.H2("The whole network"), html.Div(id="network-wide"), html.H2("Blocks"), html.Div(id="blocks")]
    tabs = [
        dcc.Tab(edits, label="Edit", value="edit"),
        *(dcc.Tab(html.Div(id=name), label=label, value=name) for name, label in DETAILS.items()),
    ]
    return html.Div([html.Aside(side), dcc.Tabs(tabs, id="tab", value="edit")], className="body")
