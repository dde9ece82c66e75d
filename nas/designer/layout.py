"""The parts of the page that stand still; callbacks fill the others by their ids."""

from collections.abc import Sequence

from dash import dcc, html
from dash.development.base_component import Component

from budget.conventions import CONVENTIONS
from budget.dtypes import DTYPES
from nas.designer.panels import data
from nas.editing.judged import Terms

DTYPE_S_OWN = "as the dtype runs"
"""The option for the convention that a dtype has by itself."""

TABS = {"cost": "Where the cost goes", "compare": "Compare", "take-along": "Take along"}
"""By the id of a part of the page that is filled while it is open, the label of its tab."""


def page(terms: Terms, study: Sequence[Component]) -> Component:
    """The page with these terms in its fields; `study` is the part about a study, empty for none."""
    stores = [dcc.Store(id=name) for name in ("edit", "network", "past", "pinned", "seen")]
    address = dcc.Location(id="address", refresh=False)
    return html.Main([*stores, address, _top(), _terms(terms), html.Div(id="message"), _body(study)])


def _top() -> Component:
    starts = [
        html.Button(text, type="button", **data(edit=f"start={name}"))
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


def _body(study: Sequence[Component]) -> Component:
    side = [
        html.Div(id="costs"),
        html.P(id="predicted", className="predicted"),
        html.Div(id="way-back"),
        html.Div(
            [
                html.Button("Nearest network of the space that fits", id="nearest", type="button"),
                html.Button("How many begin like this one?", id="count", type="button"),
                html.Button("Pin to compare", id="pin", type="button"),
            ],
            className="values",
        ),
        dcc.Loading(html.P(id="counted", role="status"), type="dot"),
        html.Div(id="conventions"),
    ]
    edits = [html.H2("The whole network"), html.Div(id="network-wide"), html.H2("Blocks"), html.Div(id="blocks")]
    tabs = [dcc.Tab(edits, label="Edit", value="edit")]
    if study:
        tabs.append(dcc.Tab(html.Div(study), label="Study", value="study"))
    tabs += [dcc.Tab(html.Div(id=name), label=label, value=name) for name, label in TABS.items()]
    return html.Div([html.Aside(side), dcc.Tabs(tabs, id="tab", value="edit")], className="body")
