"""Pictures in the project's style, made without pyplot: no window system, no state shared between drawings."""

from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure

from dynacp.files import written_whole


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches. Sets seaborn's theme, which is the whole process's."""
    sns.set_theme(context="notebook", style="ticks", rc={"font.size": 10, "axes.titlesize": 11})
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path, **options: Any) -> Path:
    """Write a figure whole or not at all, as PNG or SVG by the path's suffix; returns the path.

    `options` are those of `Figure.savefig`. The same figure gives the same bytes. Raises `ValueError` for a suffix that
    matplotlib does not know, and `OSError` where it cannot be written.
    """
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else None
    with rc_context({"svg.hashsalt": path.stem}), written_whole(path) as partial:
        figure.savefig(partial, format=kind, metadata=metadata, **{"dpi": 160, **options})
    return path
