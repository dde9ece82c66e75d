"""How many networks of a space fit, exactly, and what every single change of a network costs."""

import json
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dynacp.files import write_text
from dynacp.strict_json import read_json
from dynacp.student.architecture import Architecture
from nas.space.counting import count, limited_activation_bytes
from nas.space.feasible import Feasible

BIN = 5_000_000
"""The width of a bin in MACs; a multiple of it where there would be more than `MOST_BINS`."""

MOST_BINS = 12
"""The most bins up to the limit of MACs."""

FORMAT = 2
"""The version of the cached numbers: raise it when the same space and limits come to hold other numbers."""


def numbers_that_fit(feasible: Feasible, cache: Path, console: Console) -> pd.DataFrame:
    """The exact number of networks that fit in each bin of MACs: a row per number of blocks, a column per bin.

    The columns are named by the bins' upper ends in MACs. Numbers are read from `cache`, a folder, or counted, which
    can take minutes to hours, and kept there; progress shows on `console`. They are Python ints of any size. Raises
    `UserError` for a space or a byte limit too large to be counted exactly, `OSError` where `cache` cannot be written.
    """
    space, limits = feasible.space, feasible.limits
    width = BIN * -(-limits.max_macs // (BIN * MOST_BINS))
    ends = [*range(width, limits.max_macs, width), limits.max_macs]
    asked = {"format": FORMAT, "space": asdict(space), "limits": limits.given, "dtype": feasible.dtype, "ends": ends}
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
    from nas.space.census import Census  # its import compiles

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


def margins(architecture: Architecture, feasible: Feasible) -> pd.DataFrame:
    """Every single change of an architecture, a row each.

    Columns: `choice`, its value `now`, the new `value`, the changed network's `bytes` and `macs`, how many more those
    are than the architecture's (`more_bytes`, `more_macs`), and whether it `fits`. Where activations have a limit,
    `activation_bytes` and `more_activation_bytes` too, of their peak at the inference dtype. Raises `UserError` for an
    architecture outside the space.
    """
    changes, limits = feasible.space.single_changes(architecture), feasible.limits
    networks = [architecture, *(change.architecture for change in changes)]
    cost = count(networks, dtype=feasible.dtype)
    costs = {"bytes": cost.bytes, "macs": cost.macs}
    if (held := limited_activation_bytes(limits, networks, dtype=feasible.dtype)) is not None:
        costs["activation_bytes"] = held
    table = pd.DataFrame([change[:3] for change in changes], columns=["choice", "now", "value"], dtype=object)
    of_changes = {name: of_all[1:] for name, of_all in costs.items()}
    more = {f"more_{name}": of_all[1:] - of_all[0] for name, of_all in costs.items()}
    return table.assign(**of_changes, **more, fits=limits.allow(**of_changes))
