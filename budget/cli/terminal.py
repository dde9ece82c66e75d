"""What all commands print, and where: results on standard output, errors on standard error. And how they stop."""

import os
import signal
import sys
import threading

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table

WIDTH_IN_A_FILE = 140
"""The width in characters of output that goes to no terminal."""

MOST_WIDE = 100_000
"""A width in characters that no table reaches, for measuring one without a limit."""


def console() -> Console:
    """A rich console for standard output that prints text as it is: no markup, no highlighting."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE)


def show(out: Console, *views: Table) -> None:
    """Print a table without cutting off a number or a name, however narrow the terminal is.

    `views` are tables of the same rows, the most detailed first. The first that fits is printed, with or without its
    frame; if none fits, the most detailed is printed as a list. Their widths and frames are changed for that.
    """
    for view in views:
        if _fits(out, view) or _fits(out, _without_frame(view)):
            out.print(view)
            return
    _print_list(out, views[0])


def _fits(out: Console, view: Table) -> bool:
    """Whether columns as wide as what must stay in one line leave the table within the width."""
    for column in view.columns:
        texts = [column.header, *column.cells, column.footer]
        measured = [Measurement.get(out, out.options, text) for text in texts]
        column.min_width = max(each.maximum if column.no_wrap else each.minimum for each in measured)
    if Measurement.get(out, out.options.update_width(MOST_WIDE), view).minimum > out.width:
        return False  # rich would leave out a column
    lines = Segment.split_lines(out.render(view))
    return all(Segment.get_line_length(line) <= out.width for line in lines)


def _without_frame(view: Table) -> Table:
    view.box, view.show_edge, view.pad_edge, view.padding = box.SIMPLE, False, False, (0, 0)
    return view


def _print_list(out: Console, view: Table) -> None:
    """Print each row as its first cell, and indented below it the other cells with their columns' names."""
    _, *names = [column.header for column in view.columns]
    rows = [(row.style, row.end_section) for row in view.rows]
    cells = list(zip(*(column.cells for column in view.columns), strict=True))
    if view.show_footer:
        rows[-1], rows = (rows[-1][0], True), [*rows, (None, False)]
        cells.append(tuple(column.footer for column in view.columns))
    if view.title:
        out.print(view.title, style="italic")
    for (style, ends), (heading, *values) in zip(rows, cells, strict=True):
        told = "; ".join(f"{name} {value}" for name, value in zip(names, values, strict=True) if value)
        for text, indent in ((heading, 2), (told, 4)):
            out.print(Padding(str(text), (0, 0, 0, indent), expand=False), style=style)
        if ends:
            out.print()
    if view.caption:
        out.print(view.caption)


def complain(error: object, advice: str = "") -> None:
    """Print an error on standard error, in one line.

    The line holds the error's own text or, for an `OSError`, the file, the reason and `advice`.
    """
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        error = f"{where}{error.strerror or error}{advice}"
    Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", style="red", soft_wrap=True)


def warn(text: str | None) -> None:
    """Print a warning on standard error, in one line; None prints nothing."""
    if text:
        Console(stderr=True, highlight=False, markup=False).print(f"warning: {text}", style="yellow", soft_wrap=True)


def hear_stops() -> None:
    """Make SIGTERM stop the process as ^C does, and make sure that neither is lost.

    Python drops a KeyboardInterrupt that comes while a finalizer or a weak reference's callback runs, and only reports
    it to `sys.unraisablehook`; it is then sent again a moment later. Raises `ValueError` outside the main thread.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        again = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM])  # a background job may ignore SIGINT
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(dropped)
