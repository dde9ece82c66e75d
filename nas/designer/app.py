"""The page as a Dash app: one callback answers every edit with all that depends on the network."""

import sys
import traceback
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import dash
from dash import ClientsideFunction, Input, Output, State, ctx, html, no_update, set_props
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from budget.errors import UserError
from dynacp.student.architecture import NAMED, Architecture, resolve, with_classes
from nas.designer import comparison, details, layout, panels, study_panel
from nas.designer.links import to_text
from nas.designer.terms import FIELDS, terms_of
from nas.designer.watched import Watched
from nas.editing.edits import edited
from nas.editing.judged import Judged, Terms, space_around
from nas.editing.nearby import in_words, nearest
from nas.study.settings import StudyError

MOST_BLOCKS = 64
"""The most blocks of a network that the page shows: each adds thirty buttons, and as many networks to count."""

MOST_TOLD = 300
"""The most characters of what lies outside of what the search proposes."""


def create_app(start: Architecture, terms: Terms, watched: Watched | None = None) -> dash.Dash:
    """The page, which opens with the network `start` judged by `terms`; nothing is served yet.

    `watched` is the study that it looks into. Raises `StudyError` for one that cannot be read.
    """
    app = dash.Dash(
        __name__,
        title="Design a network for a budget",
        update_title="",
        serve_locally=True,
        compress=False,
        assets_folder=str(Path(__file__).parent / "assets"),
        on_error=_told,
    )
    study = study_panel.panel(watched) if watched else []
    app.layout = lambda: layout.page(terms, study)
    _refuse_too_long(start)
    _answer(app, start, terms, watched)
    _pin(app)
    _look_around(app)
    if watched:
        _watch(app, terms, watched)
    app.clientside_callback(ClientsideFunction("design", "show"), Input("parts", "data"))
    app.clientside_callback(
        ClientsideFunction("design", "turn"),
        *(Output(layout.panel(tab), "hidden") for tab in layout.labels(study=bool(watched))),
        Input("tab", "value"),
    )
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


def _answer(app: dash.Dash, start: Architecture, usual: Terms, watched: Watched | None) -> None:
    """The callback that answers edits, undone networks, opened files, clicked candidates and changed terms."""
    clicks = [Input("study-figure", "clickData")] if watched else []

    @app.callback(
        Output("network", "data"),
        Output("message", "children"),
        Output("parts", "data"),
        *(Output(part, "children") for part in layout.TABS),
        Input("edit", "data"),
        Input("network", "data"),
        Input("file", "contents"),
        Input("tab", "value"),
        Input("pinned", "data"),
        State("address", "search"),
        *(Input(name, "value") for name in FIELDS),
        *clicks,
    )
    def answer(
        edit: dict[str, Any] | None,
        network: str | None,
        file: str | None,
        tab: str,
        pinned: str | None,
        search: str | None,
        *others: Any,
    ) -> tuple[Any, ...]:
        fields, clicked = others[: len(FIELDS)], others[len(FIELDS) :]
        terms, faults = terms_of(*fields, usual=usual)
        now = start
        if network:
            now = Architecture.from_json(network)
        else:
            try:
                now = _addressed(search) or start
            except UserError as error:
                faults.append(f"The address holds no network: {error}")
        if ctx.triggered_id == "edit" and edit:
            now = _edited(now, str(edit.get("text")), watched)
        elif ctx.triggered_id == "file":
            if not file:
                raise PreventUpdate
            set_props("file", {"contents": None})  # else the same file could not be opened again
            now = _opened(file)
        elif ctx.triggered_id == "study-figure" and watched:
            now = study_panel.clicked(watched, clicked[0]) or now
        _refuse_too_long(now)
        judged = Judged(now, terms)
        opened = [_details(tab, judged, pinned, watched) if part == tab else no_update for part in layout.TABS]
        if network and ctx.triggered_id in ("tab", "pinned"):
            return no_update, no_update, no_update, *opened
        set_props("counted", {"children": ""})
        return to_text(now), [*map(_fault, faults), *_outside(judged)], panels.parts(judged), *opened


def _details(tab: str, judged: Judged, pinned: str | None, watched: Watched | None) -> list[Component]:
    """What the open one of `layout.TABS` shows of the network, and of the pinned one."""
    if tab == "cost":
        return [*details.ledger(judged), *details.memory(judged)]
    if tab == "compare":
        other = Judged(Architecture.from_json(pinned), judged.terms) if pinned else None
        return comparison.beside(other, judged, watched)
    return details.take_along(judged)


def _pin(app: dash.Dash) -> None:
    """The callback that pins the network, to compare it."""

    @app.callback(
        Output("pinned", "data"),
        Output("tab", "value"),
        Input("pin", "n_clicks"),
        State("network", "data"),
        prevent_initial_call=True,
    )
    def pin(_: int, network: str) -> tuple[str, str]:
        return network, "compare"


def _look_around(app: dash.Dash) -> None:
    """The callbacks for what takes seconds: the nearest network that fits, and how many begin like this one."""
    terms = [State(name, "value") for name in FIELDS]

    @app.callback(
        Output("network", "data", allow_duplicate=True),
        Output("counted", "children", allow_duplicate=True),
        Input("nearest", "n_clicks"),
        State("network", "data"),
        *terms,
        prevent_initial_call=True,
    )
    def take_nearest(_: int, network: str, *terms: str) -> tuple[str, str]:
        return to_text(nearest(_judged(network, terms))), ""

    @app.callback(
        Output("counted", "children"),
        Input("count", "n_clicks"),
        State("network", "data"),
        *terms,
        prevent_initial_call=True,
    )
    def count(_: int, network: str, *terms: str) -> str:
        return in_words(_judged(network, terms))


def _judged(network: str, fields: tuple[str, ...]) -> Judged:
    """Raises `UserError` for limits that are none: what takes seconds is not done for other ones."""
    terms, faults = terms_of(*fields, usual=Terms())
    if faults:
        raise UserError(" ".join(faults))
    return Judged(Architecture.from_json(network), terms)


def _watch(app: dash.Dash, usual: Terms, watched: Watched) -> None:
    """The callbacks of a study: its picture as it grows, and the mark that follows the edited network."""
    terms = [Input(name, "value") for name in FIELDS]

    @app.callback(
        Output("study-figure", "figure"),
        Output("study-facts", "children"),
        Output("seen", "data"),
        Input("tab", "value"),
        Input("look", "n_intervals"),
        *(Input(name, "value") for name in study_panel.FILTERS),
        State("seen", "data"),
        State("network", "data"),
        *(State(name, "value") for name in FIELDS),
        prevent_initial_call=True,
    )
    def look(tab: str, _: int, *others: Any) -> tuple[Any, ...]:
        macs, kilobytes, blocks, seen, network, *fields = others
        if tab != "study" or not network:
            return no_update, no_update, no_update
        try:
            with watched.reading():
                state = watched.state
                if ctx.triggered_id == "look" and seen == state:
                    return no_update, no_update, no_update
                judged = Judged(Architecture.from_json(network), terms_of(*fields, usual=usual)[0])
                shown = study_panel.chosen(watched, macs, kilobytes, blocks)
                return study_panel.figure(watched, shown, judged), study_panel.facts(watched, shown), state
        except StudyError as error:
            return no_update, str(error), None  # it is drawn anew once it can be read again

    @app.callback(
        Output("predicted", "children"),
        Output("study-figure", "figure", allow_duplicate=True),
        Input("network", "data"),
        Input("seen", "data"),
        *terms,
        State("tab", "value"),
        prevent_initial_call="initial_duplicate",
    )
    def follow(network: str | None, seen: int | None, *others: Any) -> tuple[Any, Any]:
        if not network:
            return no_update, no_update
        *fields, tab = others
        judged = Judged(Architecture.from_json(network), terms_of(*fields, usual=usual)[0])
        drawn = tab == "study" and seen is not None and ctx.triggered_id != "seen"
        try:
            return study_panel.in_words(watched, judged), study_panel.moved(watched, judged) if drawn else no_update
        except StudyError as error:
            return str(error), no_update


def _edited(before: Architecture, text: str, watched: Watched | None) -> Architecture:
    what, _, name = text.partition("=")
    if what == "start":
        return with_classes(resolve(name), before.classes) if name in NAMED else before
    if what == "candidate" and watched:
        return study_panel.numbered(watched, name)
    return edited(before, text, space_around(before))


def _refuse_too_long(network: Architecture) -> None:
    if len(network.blocks) > MOST_BLOCKS:
        raise UserError(
            f"the page shows networks of up to {MOST_BLOCKS} blocks, but this one has {len(network.blocks)}; "
            "`python -m budget` counts it."
        )


def _outside(judged: Judged) -> list[Component]:
    if not judged.outside:
        return []
    values = [panels.in_words(value) for value in judged.chosen if not value.inside]
    told = "; ".join(values) + "." if values else judged.outside
    told = told if len(told) <= MOST_TOLD else f"{told[:MOST_TOLD]} ..."
    return [html.P(f"Outside of what the search proposes: {told}", className="soft")]


def _fault(text: str) -> Component:
    return html.P(text, className="verdict over", role="alert")


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
    set_props("message", {"children": _fault(told)})
