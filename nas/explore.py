"""What the search space holds under limits, exactly, and what each choice of a layout costs.

    python -m nas.explore                                    around Table 1
    python -m nas.explore studies/NAME/export/NAME-17.json   around another layout
    python -m nas.explore --max-macs 10e6 --dtype int8

Prints how many networks fit, by number of blocks and by MACs (exact numbers: counting takes four minutes on two cores
in float16 and far longer in int8, once for each space and limits), and for the layout every single change: what it
costs and whether it fits. Draws both.
"""

import argparse
import json
import sys
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from budget.command import EXIT_STATUS, run
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from budget.limits import Limits
from budget.terminal import complain, console, show
from dynacp.cache_option import add_cache_option, cache_errors
from dynacp.files import write_text, written_whole
from dynacp.strict_json import read_json
from dynacp.student.architecture import TABLE1, Architecture, resolve, with_classes
from nas.counting import count
from nas.feasible import Feasible
from nas.plot import BASELINE, LIMIT
from nas.space import Space

BIN, MOST_BINS = 5_000_000, 12
"""MACs; wider where there would be more bins."""

FORMAT = 2
"""Part of what numbers are kept under: raise it when the same limits come to hold something else."""

_VIOLINS = {"color": "#9ecae1", "inner": "quart", "cut": 0, "linewidth": 1}

SHOWN = 1.3
"""Single changes are drawn up to so many times a limit."""

SAMPLED, TRIES = 2_000, 20_000
"""Networks of each number of blocks whose MACs and bytes are drawn (fewer where few tries fit), and tries for them."""


def numbers_that_fit(feasible: Feasible, cache: Path, console: Console) -> pd.DataFrame:
    """Exact numbers of networks that fit: a row per number of blocks, a column per upper end of a bin of MACs."""
    space, limits = feasible.space, feasible.limits
    width = BIN * -(-limits.max_macs // (BIN * MOST_BINS))
    ends = [*range(width, limits.max_macs, width), limits.max_macs]
    asked = {"format": FORMAT, "space": asdict(space), "limits": asdict(limits), "dtype": feasible.dtype, "ends": ends}
    kept = cache / f"census-{blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()}.json"
    cache.mkdir(parents=True, exist_ok=True)
    counted = _kept(kept, len(space.sizes), len(ends))
    if counted is None:
        counted = _counted(feasible, ends, console)
        write_text(kept, json.dumps({**asked, "counted": counted}))
    within = pd.DataFrame(counted, space.sizes, ends, dtype=object)
    return within.diff(axis="columns").fillna(within)


def _kept(file: Path, sizes: int, bins: int) -> list[list[int]] | None:
    """Numbers that were counted before; None where there are none, or damaged ones."""
    try:
        rows = read_json(file)["counted"]
        whole = len(rows) == sizes and all(len(row) == bins and {*map(type, row)} == {int} for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rows if whole else None


def _counted(feasible: Feasible, ends: list[int], console: Console) -> list[list[int]]:
    from nas.census import Census  # its import compiles

    console.print("Counting exactly; the numbers are kept for the next time ...")
    census, counted = Census(feasible), list[list[int]]()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(ends) * sum(feasible.space.sizes))
        for blocks in feasible.space.sizes:
            counted.append([])
            for end in ends:
                progress.update(task, description=f"counting networks of {blocks} blocks within {end / 1e6:g} MMACs")
                counted[-1].append(census.count(blocks, end, lambda _: progress.advance(task)))
    return counted


def numbers_table(numbers: pd.DataFrame, feasible: Feasible) -> Table:
    """How many networks there are, how many fit, and what share of those lies in which bin of MACs."""
    limits, dilations = feasible.limits, len(feasible.space.dilations)
    title = (
        f"Networks within {limits.max_macs / 1e6:g} MMACs and {limits.max_bytes:,} bytes in {feasible.dtype}, by MACs"
    )
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


def margins(layout: Architecture, feasible: Feasible) -> pd.DataFrame:
    """Every single change of a layout, a row each: choice, value now and then, cost, what that adds, whether it fits.

    Raises `ValueError` for a layout outside the space.
    """
    changes = feasible.space.single_changes(layout)
    networks = [layout, *(change.architecture for change in changes)]
    _, macs, bytes = count(networks, dtype=feasible.dtype).T
    table = pd.DataFrame([change[:3] for change in changes], columns=["choice", "now", "value"], dtype=object)
    table["bytes"], table["macs"] = bytes[1:], macs[1:]
    table["more_bytes"], table["more_macs"] = bytes[1:] - bytes[0], macs[1:] - macs[0]
    table["fits"] = feasible.limits.allow(bytes=bytes[1:], macs=macs[1:])
    return table


def margins_table(changes: pd.DataFrame, name: str) -> Table:
    """A row for each choice of a layout."""
    title = f"Single changes of {name}: {changes['fits'].sum()} of {len(changes)} fit"
    view = Table(title=title, title_justify="left")
    for column in ("choice", "now", "cheapest", "dearest", "values that fit", "values that do not"):
        view.add_column(column)
    choices = list(changes.groupby("choice", sort=False))
    blocks = [str(choice).rpartition("_")[2] for choice, _ in choices]
    for (choice, values), block, following in zip(choices, blocks, [*blocks[1:], ""], strict=True):
        ends = values.sort_values(["macs", "bytes"]).iloc[[0, -1]]
        free = (ends[["more_macs", "more_bytes"]] == 0).all(axis=None)
        view.add_row(
            str(choice).replace("_", " of block "),
            str(values["now"].iloc[0]),
            *(["free"] * 2 if free else map(_price, ends.to_dict("records"))),
            *(", ".join(map(str, values["value"][values["fits"] == fits])) for fits in (True, False)),
            end_section=block != following,
        )
    return view


def _price(change: dict[Hashable, Any]) -> str:
    return f"{change['value']}: {change['more_macs'] / 1e6:+.2f} MMACs {change['more_bytes'] / 1e3:+.1f} kB"


def draw_space(feasible: Feasible, layout: Architecture, name: str, path: Path) -> None:
    """MACs and bytes of networks that fit, sampled uniformly for each number of blocks, and where the layout stands."""
    space, limits, rng = feasible.space, feasible.limits, np.random.default_rng(0)
    sampled = pd.concat(
        _costs(feasible.sample(blocks, SAMPLED, rng, tries=TRIES), feasible.dtype).assign(blocks=blocks)
        for blocks in space.sizes
        if feasible.allows(feasible.start, blocks, feasible.budget)
    )
    here = _costs([layout], feasible.dtype).iloc[0]
    figure, panels = _figure(2)
    ends = {"MMACs": limits.max_macs / 1e6, "kB": limits.max_bytes / 1e3}
    for axes, (unit, limit) in zip(panels, ends.items(), strict=True):
        at = here[unit]
        sns.violinplot(sampled, x="blocks", y=unit, order=space.sizes, ax=axes, **_VIOLINS)
        axes.axhline(limit, color=LIMIT, ls="--", lw=1)
        axes.plot(
            len(layout.blocks) - space.min_blocks, at, "*", ms=15, color=BASELINE, mec="white", label=name, zorder=5
        )
        axes.set(ylim=(0, 1.05 * max(limit, at)), ylabel=f"{unit}" + (f" in {feasible.dtype}" if unit == "kB" else ""))
    panels[0].legend(frameon=False, loc="lower right")
    panels[0].set_title(
        f"What fits: up to {SAMPLED:,} uniform samples for each number of blocks", loc="left", weight="bold"
    )
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=160, format="png")


def draw_margins(changes: pd.DataFrame, feasible: Feasible, layout: Architecture, name: str, path: Path) -> None:
    """Every single change of a layout between the limits."""
    figure, (axes,) = _figure(1)
    limits, here = feasible.limits, _costs([layout], feasible.dtype).iloc[0]
    width = SHOWN * max(limits.max_macs / 1e6, here["MMACs"])
    height = SHOWN * max(limits.max_bytes / 1e3, here["kB"])
    kinds = changes["choice"].str.partition("_")[0]
    drawn = pd.DataFrame({"MMACs": changes["macs"] / 1e6, "kB": changes["bytes"] / 1e3, "choice of": kinds})
    drawn = drawn[kinds != "dilation"]
    sns.scatterplot(drawn, x="MMACs", y="kB", hue="choice of", s=45, alpha=0.8, ax=axes, palette="deep")
    axes.plot(here["MMACs"], here["kB"], "*", ms=17, color=BASELINE, mec="white")
    axes.axvline(limits.max_macs / 1e6, color=LIMIT, ls="--", lw=1)
    axes.axhline(limits.max_bytes / 1e3, color=LIMIT, ls="--", lw=1)
    beyond = int(((drawn["MMACs"] > width) | (drawn["kB"] > height)).sum())
    axes.set(xlim=(0, width), ylim=(0, height), ylabel=f"kB in {feasible.dtype}")
    axes.set_title(f"One choice of {name} changed", loc="left", weight="bold")
    note = f"dilations cost nothing; {beyond} changes lie beyond the axes"
    axes.annotate(note, (0.99, 0.02), xycoords="axes fraction", ha="right", fontsize=8.5, color=LIMIT)
    axes.legend(title="choice of", frameon=False, loc="lower left")
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=160, format="png")


def _costs(networks: Sequence[Architecture], dtype: str) -> pd.DataFrame:
    """MMACs and kB, a row per network."""
    _, macs, bytes = count(networks, dtype=dtype).T
    return pd.DataFrame({"MMACs": macs / 1e6, "kB": bytes / 1e3})


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    sns.set_theme(context="notebook", style="ticks", rc={"font.size": 10, "axes.titlesize": 11})
    figure = Figure(figsize=(6 * panels, 5), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for each in axes:
        sns.despine(ax=each)
        each.grid(alpha=0.25)
    return figure, axes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 2 bad input."""
    form = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m nas.explore",
        description=__doc__,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, limits = form.add_argument, Limits()
    add("layout", metavar="LAYOUT", nargs="?", default="table1", help="table1 (the default) or a JSON file")
    add("--max-macs", type=float, default=limits.max_macs, metavar="X", help=f"default: {limits.max_macs:,}")
    add("--max-bytes", type=int, default=limits.max_bytes, metavar="N", help=f"default: {limits.max_bytes:,}")
    add("--dtype", choices=sorted(DTYPES), default=DEFAULT_DTYPE, help="default: %(default)s")
    add("--out", type=Path, default=Path("explore"), metavar="DIR", help="for pictures and CSV (default: %(default)s)")
    add_cache_option(form, "the exact numbers")
    options = form.parse_args(arguments)
    out = console()
    try:
        layout, limits = resolve(options.layout), Limits(options.max_bytes, int(options.max_macs))
        feasible = Feasible(Space(with_classes(TABLE1, layout.classes)), limits, options.dtype)
        changes = margins(layout, feasible)
        options.out.mkdir(parents=True, exist_ok=True)
        with cache_errors(options.cache):
            numbers = numbers_that_fit(feasible, options.cache, out)
        write_text(options.out / "single-changes.csv", changes.to_csv(index=False))
        write_text(options.out / "numbers.csv", numbers.to_csv(index_label="blocks"))
        show(out, numbers_table(numbers, feasible))
        show(out, margins_table(changes, options.layout))
        if not numbers.sum(axis=None):
            raise ValueError("nothing in the space fits these limits; raise `--max-macs` or `--max-bytes`.")
        draw_space(feasible, layout, options.layout, options.out / "space.png")
        draw_margins(changes, feasible, layout, options.layout, options.out / "single-changes.png")
    except (ValueError, OverflowError, OSError) as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        print("Stopped; nothing was kept.", file=sys.stderr)
        return 130
    out.print(f"{options.out}: numbers.csv, single-changes.csv, space.png, single-changes.png")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
