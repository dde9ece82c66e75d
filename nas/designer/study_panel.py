"""What the page shows of a study: its picture with the network that is edited, and what the model expects of it."""

from contextlib import suppress
from threading import Thread
from typing import Any

import plotly.graph_objects as go
from dash import Patch, dcc, html
from dash.development.base_component import Component

from budget.errors import UserError
from dynacp.student.architecture import Architecture
from nas.designer.layout import attributes
from nas.designer.watched import Watched
from nas.editing.judged import Judged
from nas.results.finalists import NOTE_ON_THE_RACE
from nas.study.candidate import Candidate
from nas.study.database import reading_much
from nas.study.posterior import Forecast
from nas.study.settings import StudyError
from nas.views.charts import front_figure

HERE_COLOUR = "#d6006c"
EVERY_SECONDS = 3
"""How often an open study is looked at."""

FILTERS = {"filter-macs": "million MACs", "filter-bytes": "kB", "filter-blocks": "blocks"}
"""By the id of a slider, the unit of what it lets through."""

Range = tuple[float, float]


def panel(watched: Watched) -> list[Component]:
    """The study's part of the page: filters, the picture, and what is said of it."""
    with watched.reading() as store:
        limits, blocks = store.settings.limits, store.settings.max_blocks
    Thread(target=_prepare, args=[watched], daemon=True).start()
    ends = ((0, round(limits.max_macs / 1e6, 1)), (0, round(limits.max_bytes / 1e3, 1)), (1, blocks))
    sliders = [
        html.Label(
            [html.Span(f"candidates of ... {name}"), dcc.RangeSlider(low, high, id=key, value=[low, high], marks=None)]
        )
        for (key, name), (low, high) in zip(FILTERS.items(), ends, strict=True)
    ]
    return [
        html.P(id="study-facts", className="soft", role="status"),
        html.Div(sliders, className="filters"),
        dcc.Graph(id="study-figure", config={"displaylogo": False, "responsive": True}),
        html.P(
            [
                "Click on a point to edit that candidate, or enter its number: ",
                html.Span(dcc.Input(type="text", className="entry"), **attributes(("data-entry", "candidate"))),
            ]
        ),
        html.P(NOTE_ON_THE_RACE, className="soft"),
        dcc.Interval(id="look", interval=1_000 * EVERY_SECONDS),
    ]  # fmt: skip


def _prepare(watched: Watched) -> None:
    """Fit the model, and load what plotly loads when it first draws: seconds in which a browser may open the page."""
    # One that has vanished since is told of where it is looked at.
    with suppress(StudyError), reading_much(), watched.reading() as store:
        front_figure(store, watched.finalists(), store.candidates[:1])


def facts(watched: Watched, shown: list[Candidate]) -> str:
    """How far the study is, in words."""
    with watched.reading() as store:
        number, running, last = len(store.candidates), len(store.race.done), len(watched.finalists())
    told = f"{watched.name}: {number:,} candidates, {len(shown):,} of them shown; {running} trained again in the race"
    return f"{told}, {last} to its end: the diamonds and the star." if last else f"{told}."


def chosen(watched: Watched, macs: Range, kilobytes: Range, blocks: Range) -> list[Candidate]:
    """The candidates whose MACs (in millions), bytes (in thousands) and number of blocks lie in these ranges."""
    with watched.reading() as store:
        return [
            each
            for each in store.candidates
            if macs[0] <= each.macs / 1e6 <= macs[1]
            and kilobytes[0] <= each.bytes / 1e3 <= kilobytes[1]
            and blocks[0] <= len(each.architecture.blocks) <= blocks[1]
        ]


def figure(watched: Watched, shown: list[Candidate], judged: Judged) -> go.Figure:
    """The study's picture with the network that is edited as a mark; `moved` moves that."""
    with watched.reading() as store:
        drawn = front_figure(store, watched.finalists(), shown)
    told, at = watched.forecast(judged.architecture), watched.macs(judged.architecture) / 1e6
    mark = go.Scatter(
        x=[at],
        y=[None if told is None else 100 * told.accuracy],
        error_y={"array": [_reach(told)], "color": HERE_COLOUR},
        name="this network, as expected",
        mode="markers",
        marker={"color": HERE_COLOUR, "size": 13, "symbol": "cross", "line": {"color": "white", "width": 1}},
        hovertemplate="this network: %{x:.2f} MMACs<extra></extra>",
    )
    drawn.add_trace(mark)
    drawn.data = (drawn.data[-1], *drawn.data[:-1])
    line = {"color": HERE_COLOUR, "width": 1}
    drawn.layout.shapes = (
        {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line},
        *drawn.layout.shapes,
    )
    return drawn.update_layout(height=480, uirevision="study")


def moved(watched: Watched, judged: Judged) -> Patch:
    """A change of `figure` that moves the mark to this network."""
    told, change, at = watched.forecast(judged.architecture), Patch(), watched.macs(judged.architecture) / 1e6
    change["data"][0]["x"] = [at]
    change["data"][0]["y"] = [None if told is None else 100 * told.accuracy]
    change["data"][0]["error_y"]["array"] = [_reach(told)]
    change["layout"]["shapes"][0]["x0"] = change["layout"]["shapes"][0]["x1"] = at
    return change


def _reach(told: Forecast | None) -> float:
    """Half of the 95 % interval, in percentage points."""
    return 0.0 if told is None else 196 * told.deviation


def in_words(watched: Watched, judged: Judged) -> str:
    """What the study's model expects of the network, and how sure it is."""
    if not watched.comparable(judged.architecture):
        return f"{watched.name} holds no networks of this input, these classes and this family: no word on this one."
    told = watched.forecast(judged.architecture)
    if told is None:
        return f"{watched.name} has too few candidates for a model."
    words = f"{watched.name} expects {100 * told.accuracy:.1f} % ± {_reach(told):.1f} after a short training (95 %)."
    return words if told.near else f"{words} It has seen nothing near this network: do not trust that."


def known_as(watched: Watched, architecture: Architecture) -> str:
    """Which candidate a network is and how it scored, such as `#17, 43.2 % after a short training`."""
    with watched.reading() as store:
        found = next((each for each in store.candidates if each.architecture == architecture), None)
        entry = next((each for each in watched.finalists() if found and each.candidate.number == found.number), None)
    if found is None:
        return "no candidate"
    words = f"{found.name}, {found.accuracy:.1%} after a short training"
    return f"{words}, {entry.mean:.1%} ± {100 * entry.deviation:.1f} in full" if entry else words


def numbered(watched: Watched, number: str) -> Architecture:
    """The network of the candidate of this number; raises `UserError` for none."""
    if (found := _candidate(watched, number.removeprefix("#").strip())) is None:
        raise UserError(f"{watched.name} has no trained candidate {number[:80]!r}; numbers are on the points.")
    return found


def _candidate(watched: Watched, number: str) -> Architecture | None:
    with watched.reading() as store:
        return next((each.architecture for each in store.candidates if str(each.number) == number), None)


def clicked(watched: Watched, click: Any) -> Architecture | None:
    """The network of the candidate whose point was clicked, if it was one's."""
    try:
        number = int(click["points"][0]["customdata"])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return _candidate(watched, str(number))
