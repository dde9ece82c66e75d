"""The interactive charts of a search's page, each as HTML in a `Markup` that needs no network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from nas.results.fidelity import TRUSTED
from nas.results.finalists import Finalist, hypervolume_history
from nas.results.importance import importance_grid, importance_of_the_rest, well_read
from nas.study.candidate import Candidate
from nas.study.store import Store
from nas.views.colours import BASELINE_COLOUR, FRONT_COLOUR, LIMIT_COLOUR

_LAYOUT = {
    "template": "plotly_white",
    "margin": {"l": 55, "r": 10, "t": 10, "b": 45},
    "legend": {"orientation": "h", "y": -0.22},
    "hoverlabel": {"align": "left", "font": {"family": "monospace", "size": 12}},
    "font": {"family": "system-ui, sans-serif", "size": 13},
}


MOST_DRAWN = 1_000
"""Points that a browser draws one by one; more are drawn by its graphics unit."""


def _hover(candidate: Candidate) -> str:
    blocks = candidate["layout"].replace(" | ", "<br>")
    return (
        f"<b>{candidate.name}</b><br>{candidate.accuracy:.1%} after {candidate.samples:,} samples<br>"
        f"{candidate.macs:,} MACs, {candidate.bytes:,} bytes<br>{blocks}"
    )


def _dots(candidates: list[Candidate], name: str, **marker: Any) -> go.Scatter:
    kind = go.Scatter if len(candidates) <= MOST_DRAWN else go.Scattergl
    return kind(
        x=np.array([each.macs / 1e6 for each in candidates]),  # arrays, since plotly checks lists value by value
        y=np.array([each.accuracy * 100 for each in candidates]),
        text=[_hover(each) for each in candidates],
        customdata=[each.number for each in candidates],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        name=name,
        marker=marker,
    )


def front(store: Store, entries: list[Finalist]) -> Markup:
    """A chart of accuracy against MACs, as `front_figure` draws it.

    It contains plotly's script, so it must come before the other charts of a page.
    """
    return _html(front_figure(store, entries, store.candidates), height=460, script=True)


def front_figure(store: Store, entries: list[Finalist], shown: Sequence[Candidate]) -> go.Figure:
    """Accuracy against MACs of the candidates `shown`; hovering shows the architecture, `customdata` is the number.

    `entries` are as `nas.results.finalists.finalists` gives them, empty for none.
    """
    limits, figure = store.settings.limits, go.Figure()
    trained = [each for each in shown if each.number]
    shade = {
        "color": np.array([each.bytes / 1e3 for each in trained]),
        "colorscale": "Viridis_r",
        "cmin": 0,
        "cmax": limits.max_bytes / 1e3,
        "colorbar": {"title": {"text": "kB"}, "thickness": 10, "len": 0.8},
    }
    figure.add_trace(_dots(trained, "candidate, one short training", size=8, **shade))
    best, expected = store.front(), store.expected()
    figure.add_trace(
        go.Scatter(
            x=[each.macs / 1e6 for each in best],
            y=[expected[each.number].accuracy * 100 for each in best],
            mode="lines",
            line={"color": FRONT_COLOUR, "width": 1.5, "shape": "hv"},
            name="front, as expected",
            hoverinfo="skip",
        )
    )
    rivals = [entry for entry in entries if entry.candidate.number]
    if rivals:
        figure.add_trace(_means(rivals, "finalist in full, mean ± sd", color=FRONT_COLOUR, symbol="diamond", size=10))
    baseline = [entry for entry in entries if not entry.candidate.number]
    name = store.settings.baseline.name
    if baseline:
        figure.add_trace(_means(baseline, f"{name} in full, mean ± sd", color=BASELINE_COLOUR, symbol="star", size=16))
    elif store.baseline:
        figure.add_trace(_dots([store.baseline], name, color=BASELINE_COLOUR, symbol="star", size=16))
    figure.add_vline(x=limits.max_macs / 1e6, line={"color": LIMIT_COLOUR, "dash": "dash", "width": 1})
    most = max(limits.max_macs, *(each.macs for each in store.candidates)) / 1e6
    figure.update_xaxes(title="million MACs for one second of audio", range=[0, 1.05 * most])
    figure.update_yaxes(title="validation macro accuracy, %")
    return figure.update_layout(_LAYOUT)


def _means(entries: list[Finalist], name: str, **marker: Any) -> go.Scatter:
    trace = _dots([entry.candidate for entry in entries], name, **marker, line={"color": "white", "width": 1})
    trace.y = [entry.mean * 100 for entry in entries]
    trace.error_y = {"array": [entry.deviation * 100 for entry in entries], "thickness": 1.2, "color": marker["color"]}
    trace.text = [f"trained in full: {_told(entry)}<br>{_hover(entry.candidate)}" for entry in entries]
    return trace


def _told(entry: Finalist) -> str:
    mean = f"{entry.mean:.1%} ± {entry.deviation * 100:.1f} ({len(entry.accuracies)})"
    return f"{mean}; {entry.in_points} points against the baseline: {entry.verdict}" if entry.in_points else mean


def growth(store: Store) -> Markup:
    """A chart of the front's hypervolume against training samples; `front` must come before it on the page."""
    history = hypervolume_history(store)
    figure = go.Figure(
        go.Scatter(
            x=history["samples"],
            y=history["hypervolume"],
            text=history.index,
            mode="lines",
            line={"color": FRONT_COLOUR, "width": 2, "shape": "hv"},
            hovertemplate="%{text} candidates, %{x:,} samples: %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="training samples", rangemode="tozero")
    figure.update_yaxes(title="hypervolume", rangemode="tozero")
    return _html(figure, height=320)


def fidelity(table: pd.DataFrame) -> Markup:
    """A chart of how statistics of short trainings rank as full ones do; `front` must come before it on the page.

    `table` is as `nas.results.fidelity.agreement` gives it, not empty.
    """
    reach = {"array": table["high"] - table["tau"], "arrayminus": table["tau"] - table["low"]}
    dots = go.Scatter(
        x=table["tau"],
        y=table["statistic"],
        error_x={"type": "data", **reach, "thickness": 1.5},
        mode="markers",
        marker={"color": BASELINE_COLOUR, "size": 9},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure = go.Figure(dots)
    figure.add_vline(x=TRUSTED, line={"color": LIMIT_COLOUR, "dash": "dash", "width": 1})
    figure.update_xaxes(title="Kendall's tau with the full training, 95 %")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _html(figure, height=300)


def importance(store: Store) -> Markup:
    """A chart of how important each choice is for the ranking; `front` must come before it on the page.

    The store should have `IMPORTANCE_TRIALS` candidates.
    """
    shares = well_read(store)
    grid = importance_grid(store, shares) * 100
    figure = go.Figure(
        go.Heatmap(
            z=grid.to_numpy(),
            x=list(grid.columns),
            y=[name.replace("\n", " ") for name in grid.index],
            colorscale="OrRd",
            texttemplate="%{z:.0f}",
            hovertemplate="%{y}, %{x}: %{z:.1f} %<extra></extra>",
            colorbar={"title": {"text": "%"}, "thickness": 10},
        )
    )
    figure.update_xaxes(title=importance_of_the_rest(store, shares))
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _html(figure, height=280)


def _html(figure: go.Figure, *, height: int, script: bool = False) -> Markup:
    figure.update_layout({**_LAYOUT, "height": height})
    text = figure.to_html(
        full_html=False,
        include_plotlyjs="inline" if script else False,
        config={"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
    )
    return Markup(f'<div class="plot">{text}</div>')  # plotly escapes the names in it
