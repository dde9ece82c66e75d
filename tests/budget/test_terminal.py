"""How tables fit a width, what errors look like, and how command lines stop."""

import io
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from budget.cli.terminal import complain, show

STOPPED_IN_A_FINALIZER = """
import os, signal, sys, time
from budget.cli.terminal import hear_stops

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.1)  # where the exception comes up, and is dropped

{hear}
Finalized()
try:
    time.sleep(5)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_a_stop_that_python_drops_in_a_finalizer_is_heard_all_the_same(signal: str) -> None:
    script = STOPPED_IN_A_FINALIZER.format(signal=signal, hear="hear_stops()")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    assert not ended.stderr


def test_python_alone_drops_it() -> None:
    """Else there is nothing to mend."""
    script = STOPPED_IN_A_FINALIZER.format(signal="SIGINT", hear="")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "KeyboardInterrupt" in ended.stderr


CELLS = st.lists(st.text("ab01,.", min_size=1, max_size=24), max_size=3).map(" ".join)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=3)


@settings(max_examples=60)
@example(
    [("", "0" * 5, "", "", "0" * 10 + " " + "0" * 21), ("00 0000 " + "0" * 9, "", "", "00 " + "0" * 19, "")],
    {0, 2, 3, 4},
    93,
)
@given(ROWS, st.sets(st.integers(0, 4)), st.integers(30, 120))
def test_a_table_loses_no_word_at_any_width(rows: list[tuple[str, ...]], unwrapped: set[int], width: int) -> None:
    """A word of 24 characters, and the four that it is indented by, have room in all of them."""
    view = Table(show_footer=True)
    for column, footer in enumerate(rows[-1]):
        view.add_column(f"column {column}", footer=footer, no_wrap=column in unwrapped)
    for row in rows:
        view.add_row(*row)
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False, markup=False), view)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    shown = {word.strip(";│") for line in lines for word in line.split()}
    assert {word for row in rows for cell in row for word in cell.split()} <= shown


def test_an_error_of_the_system_names_the_file_first(capsys: pytest.CaptureFixture[str]) -> None:
    complain(PermissionError(13, "Permission denied", "studies/x/report.html"))
    complain(OSError("no number"))
    assert capsys.readouterr().err == "error: studies/x/report.html: Permission denied\nerror: no number\n"
