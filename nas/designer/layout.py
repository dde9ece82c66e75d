"""The parts of the page that stand still; callbacks fill the others by their ids."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from budget.conventions import CONVENTIONS
from budget.dtypes import DTYPES
from nas.editing.judged import Terms

DTYPE_S_OWN = "as the dtype runs"
"""The option for the convention that a dtype has by itself."""

TABS = {"cost": "Where the cost goes", "compare": "Compare", "take-along": "Take along"}
"""By the id of a part of the page that is filled while it is open, the label of its tab."""

MAKE_IT_FIT = (
    "Takes the one or two edits that change bytes and MACs least. Where two are not enough, it goes through the blocks "
    "in order, each choice taking the nearest value after which something still fits: then the last blocks pay."
)
"""What the button for the nearest network does (`nas.editing.nearby.nearest`)."""


def labels(*, study: bool) -> dict[str, str]:
    """The label of each tab, by its value; `study` says whether there is one to look into."""
    return {"edit": "Edit", **({"study": "Study"} if study else {}), **TABS}


def panel(tab: str) -> str:
    """The id of what a tab shows; `tab` is its value."""
    return f"panel-{tab}"


def page(terms: Terms, study: Sequence[Component]) -> Component:
    """The page with these terms in its fields; `study` is the part about a study, empty for none."""
    stores = [dcc.Store(id=name) for name in ("edit", "network", "parts", "past", "pinned", "seen")]
    address = dcc.Location(id="address", refresh=False)
    return html.Main([*stores, address, _top(), _terms(terms), html.Div(id="message"), _body(study)])


def _top() -> Component:
    starts = [
        html.Button(text, type="button", **attributes(("data-edit", f"start={name}")))
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


def attributes(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Attributes of an element whose names are none of Python's."""
    return dict(pairs)


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
        html.Div(id="costs", **attributes(("aria-live", "polite"))),
        html.P(id="predicted", className="predicted"),
        html.Div(id="way-back"),
        html.Div(
            [
                html.Button("Make it fit", id="nearest", type="button", title=MAKE_IT_FIT),
                html.Button("How many begin like this one?", id="count", type="button"),
                html.Button("Pin to compare", id="pin", type="button"),
            ],
            className="values",
        ),
        dcc.Loading(html.P(id="counted", role="status"), type="dot"),
        html.Div(id="conventions"),
    ]
    edits = [html.H2("The whole network"), html.Div(id="network-wide"), html.H2("Blocks"), html.Div(id="blocks")]
    told = {"edit": edits, "study": study, **{name: [html.Div(id=name)] for name in TABS}}
    shown = labels(study=bool(study))
    # Radio buttons that look like tabs, since those of Dash cannot be reached by keyboard.
    options: Any = [{"label": label, "value": tab} for tab, label in shown.items()]
    tabs = dcc.RadioItems(options, "edit", id="tab", inline=True, className="tabs")
    # All stay on the page, since design.js writes into them; it hides all but one.
    panels = [html.Section(told[tab], id=panel(tab), hidden=tab != "edit") for tab in shown]
    return html.Div([html.Aside(side), html.Div([tabs, *panels])], className="body")
