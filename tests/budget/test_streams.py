"""What the streams of a command line can take, and the status of what stops it."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from budget.__main__ import main
from budget.cli.command import run
from budget.cli.terminal import complain

pytestmark = pytest.mark.usefixtures("handlers")
TOLD = ["table1 --dtype float32", "--help"]


def budget(arguments: str, out: IO[bytes] | int) -> tuple[int, str]:
    """Status and standard error of `python -m budget`, with its output there."""
    command = [sys.executable, "-m", "budget", *arguments.split()]
    ended = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    return ended.returncode, ended.stderr


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_the_status_of_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (["table1"], ["table1", "--dtype", "float32"], ["nowhere.json"], ["--nonsense"], ["--help"])
    assert [run(partial(main, each)) for each in arguments] == [0, 1, 2, 2, 0]
    captured = capsys.readouterr()
    assert "3 standard output could not be written" in captured.out
    assert "error: " in captured.err


@pytest.mark.parametrize("arguments", TOLD)
def test_a_full_disk_has_a_status_of_its_own(arguments: str) -> None:
    with Path("/dev/full").open("wb") as full:
        assert budget(arguments, full) == (3, "error: standard output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("arguments", TOLD)
def test_a_reader_that_left_is_told_of_by_the_status_alone(arguments: str) -> None:
    with pipe_without_reader() as pipe:
        assert budget(arguments, pipe) == (3, "")


def test_a_closed_output_has_a_status_of_its_own() -> None:
    closed = 'exec "$0" -m budget table1 >&-'
    ended = subprocess.run(["sh", "-c", closed, sys.executable], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 3
    assert ended.stderr == "error: standard output is closed; direct it to a file, or to /dev/null.\n"


@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_errors_that_cannot_be_told_leave_the_status_as_it_is(errors: str) -> None:
    lost = f'exec "$0" -m budget nowhere.json {errors}'
    ended = subprocess.run(["sh", "-c", lost, sys.executable], stdout=subprocess.PIPE, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, b"")


def test_what_stops_a_command_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    assert run(stopped) == 130
    assert capsys.readouterr().err == "error: stopped.\n"


def test_signs_that_an_encoding_lacks_have_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)

    def says() -> int:
        print("62.1 ± 0.4 of ä \udcff.wav …")
        complain("É")
        return 0

    assert run(says) == 0
    assert out.buffer.getvalue() == b"62.1 +- 0.4 of \\xe4 \xff.wav ...\n"
    assert err.buffer.getvalue() == b"error: \\xc9\n"
    assert (sys.stdout, sys.stderr) == (out, err)
