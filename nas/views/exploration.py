"""A space under limits, and the single changes of a network, as tables and pictures."""

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from dynacp.pictures import new_figure
from dynacp.student.architecture import Architecture
from nas.space.counting import count, limited_activation_bytes
from nas.space.feasible import Feasible
from nas.views.colours import BASELINE_COLOUR, LIMIT_COLOUR

_VIOLINS = {"color": "#9ecae1", "inner": "quart", "cut": 0, "linewidth": 1}

_HELD = "kB of activations"

SHOWN = 1.3
"""The axes of single changes end at this many times the limit, or the network's own cost where that is more."""

SAMPLED = 2_000
"""The most networks drawn for each number of blocks."""

TRIES = 20_000
"""The most random tries to find them."""


def numbers_table(numbers: pd.DataFrame, feasible: Feasible) -> Table:
    """A table of how many networks there are, how many fit, and what share of those lies in which bin of MACs.

    `numbers` are as `nas.space.overview.numbers_that_fit` gives them for `feasible`.
    """
    dilations, title = len(feasible.space.dilations), f"Networks within {feasible.limits} in {feasible.dtype}, by MACs"
    view = Table(title=title, title_justify="left")
    ends = [int(end) for end in numbers.columns]
    bins = [f"{start / 1e6:g}-{end / 1e6:g} MMACs" for start, end in pairwise([0, *ends])]
    for name in ("blocks", "networks", "fit", "share", *bins):
        view.add_column(name, justify="right")
    rows = [
        (str(blocks), feasible.walks(blocks) * dilations**blocks, list(numbers.loc[blocks])) for blocks in numbers.index
    ]
    every = ("all", sum(networks for _, networks, _ in rows), list(numbers.sum(axis="index")))
    for name, networks, by_bin in (*rows, every):
        fit = sum(by_bin)
        shares = (_share(number, fit) for number in by_bin)
        view.add_row(
            name, f"{networks:.3g}", f"{fit:,}", _share(fit, networks), *shares, end_section=name == rows[-1][0]
        )
    return view


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(whole, 1)
    return f"{percent:.2g}%" if 0 < percent < 0.1 else f"{percent:.2f}%"


def margins_table(changes: pd.DataFrame, name: str) -> Table:
    """A table with a row for each choice of an architecture: what its values cost, and which of them fit.

    `changes` are as `nas.space.overview.margins` gives them; `name` is the architecture's in the title.
    """
    title = f"Single changes of {name}: {changes['fits'].sum()} of {len(changes)} fit"
    view = Table(title=title, title_justify="left")
    for column in ("choice", "now", "cheapest", "dearest", "values that fit", "values that do not"):
        view.add_column(column)
    choices = list(changes.groupby("choice", sort=False))
    blocks = [str(choice).partition("_")[2] for choice, _ in choices]
    for (choice, values), block, following in zip(choices, blocks, [*blocks[1:], ""], strict=True):
        ends = values.sort_values(["macs", "bytes"]).iloc[[0, -1]]
        free = (_more(ends) == 0).all(axis=None)
        view.add_row(
            str(choice).replace("_", " of block "),
            str(values["now"].iloc[0]),
            *(["free"] * 2 if free else map(_price, ends.to_dict("records"))),
            *(", ".join(map(str, values["value"][values["fits"] == fits])) for fits in (True, False)),
            end_section=block != following,
        )
    return view


def _price(change: dict[Hashable, Any]) -> str:
    price = f"{change['value']}: {change['more_macs'] / 1e6:+.2f} MMACs {change['more_bytes'] / 1e3:+.1f} kB"
    held = change.get("more_activation_bytes")
    return price if held is None else f"{price} {held / 1e3:+.1f} kB held"


def _more(changes: pd.DataFrame) -> pd.DataFrame:
    """What changes cost more than the architecture."""
    return changes.filter(regex="^more_")


def space_figure(feasible: Feasible, architecture: Architecture, name: str) -> Figure:
    """A picture of the MACs and bytes of networks that fit, and of where the architecture stands among them.

    A third panel shows the bytes of activations, where these have a limit. Networks are sampled uniformly for each
    number of blocks. `name` is the architecture's in the legend. Raises
    `ValueError` where nothing fits, and `UserError` as `Feasible.sample` does.
    """
    space, limits, rng = feasible.space, feasible.limits, np.random.default_rng(0)
    sampled = pd.concat(
        _costs(feasible.sample(blocks, SAMPLED, rng, tries=TRIES), feasible).assign(blocks=blocks)
        for blocks in space.sizes
        if feasible.allows(blocks)
    )
    here = _costs([architecture], feasible).iloc[0]
    ends = {"MMACs": limits.max_macs / 1e6, "kB": limits.max_bytes / 1e3}
    if limits.max_activation_bytes is not None:
        ends[_HELD] = limits.max_activation_bytes / 1e3
    figure, panels = _figure(len(ends))
    for axes, (unit, limit) in zip(panels, ends.items(), strict=True):
        at = here[unit]
        sns.violinplot(sampled, x="blocks", y=unit, order=space.sizes, ax=axes, **_VIOLINS)
        axes.axhline(limit, color=LIMIT_COLOUR, ls="--", lw=1)
        axes.plot(
            len(architecture.blocks) - space.min_blocks,
            at,
            "*",
            ms=15,
            color=BASELINE_COLOUR,
            mec="white",
            label=name,
            zorder=5,
        )
        axes.set(ylim=(0, 1.05 * max(limit, at)), ylabel=unit + ("" if unit == "MMACs" else f" in {feasible.dtype}"))
    panels[0].legend(frameon=False, loc="lower right")
    panels[0].set_title(
        f"What fits: up to {SAMPLED:,} uniform samples for each number of blocks", loc="left", weight="bold"
    )
    return figure


def margins_figure(changes: pd.DataFrame, feasible: Feasible, architecture: Architecture, name: str) -> Figure:
    """A picture of the MACs and bytes of every single change of an architecture, with the limits.

    Changes that exceed the limit of activations, where there is one, are crossed out.
    `changes` are as `nas.space.overview.margins` gives them; `name` is the architecture's in the title.
    """
    figure, (axes,) = _figure(1)
    limits, here = feasible.limits, _costs([architecture], feasible).iloc[0]
    width = SHOWN * max(limits.max_macs / 1e6, here["MMACs"])
    height = SHOWN * max(limits.max_bytes / 1e3, here["kB"])
    kinds = changes["choice"].str.partition("_")[0]
    drawn = pd.DataFrame({"MMACs": changes["macs"] / 1e6, "kB": changes["bytes"] / 1e3, "choice of": kinds})
    free = (_more(changes) == 0).all(axis="columns").groupby(kinds).transform("all")
    drawn = drawn[~free]
    sns.scatterplot(drawn, x="MMACs", y="kB", hue="choice of", s=45, alpha=0.8, ax=axes, palette="deep")
    if limits.max_activation_bytes is not None:
        over = drawn[changes.loc[drawn.index, "activation_bytes"] > limits.max_activation_bytes]
        axes.plot(over["MMACs"], over["kB"], "x", ms=5, color=LIMIT_COLOUR, label="over the limit of activations")
    axes.plot(here["MMACs"], here["kB"], "*", ms=17, color=BASELINE_COLOUR, mec="white")
    axes.axvline(limits.max_macs / 1e6, color=LIMIT_COLOUR, ls="--", lw=1)
    axes.axhline(limits.max_bytes / 1e3, color=LIMIT_COLOUR, ls="--", lw=1)
    beyond = int(((drawn["MMACs"] > width) | (drawn["kB"] > height)).sum())
    axes.set(xlim=(0, width), ylim=(0, height), ylabel=f"kB in {feasible.dtype}")
    axes.set_title(f"One choice of {name} changed", loc="left", weight="bold")
    note = f"{', '.join(kinds[free].unique())}: free; {beyond} changes lie beyond the axes"
    axes.annotate(note, (0.99, 0.02), xycoords="axes fraction", ha="right", fontsize=8.5, color=LIMIT_COLOUR)
    axes.legend(title="choice of", frameon=False, loc="lower left")
    return figure


def _costs(networks: Sequence[Architecture], feasible: Feasible) -> pd.DataFrame:
    """A table of MMACs and kB with a row per network; also of kB of activations, where these have a limit."""
    cost = count(networks, dtype=feasible.dtype)
    table = pd.DataFrame({"MMACs": cost.macs / 1e6, "kB": cost.bytes / 1e3})
    if (held := limited_activation_bytes(feasible.limits, networks, dtype=feasible.dtype)) is not None:
        table[_HELD] = held / 1e3
    return table


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = new_figure(6 * panels, 5)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for each in axes:
        sns.despine(ax=each)
        each.grid(alpha=0.25)
    return figure, axes
