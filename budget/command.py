"""How every command line runs: what its streams can take, and the exit status of what stops it."""

import codecs
import getpass
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from budget.terminal import complain, hear_stops

OUTPUT_LOST, STOPPED = 3, 130

EXIT_STATUS = (
    "Exit status: 0 done, 2 bad input, 3 standard output could not be written (closed pipe, full disk), 130 stopped."
)
"""For the help of commands that add nothing to it."""

STAND_INS = {"±": "+-", "…": "..."}
"""Signs of these programs and of rich, for an encoding that lacks them; other characters are escaped."""


class OutputError(Exception):
    """Standard output cannot be written. Not an `OSError`: commands answer those that their own files raise."""


def run(main: Callable[[], int]) -> int:
    """Run a command line; returns its exit status, or 3 if standard output cannot be written, 130 if it is stopped.

    Meanwhile both streams replace what their encoding lacks, and standard error drops what it cannot write. A reader
    that closes its pipe knows why the command ends, so that is not told.
    """
    hear_stops()
    name_user()
    with _streams():
        try:
            if sys.stdout is None:
                raise OutputError("standard output is closed; direct it to a file, or to /dev/null.")
            status = _status(main)
            sys.stdout.flush()
        except OutputError as error:
            if not isinstance(error.__cause__, BrokenPipeError):
                complain(error)
            return OUTPUT_LOST
        except KeyboardInterrupt:
            complain("stopped.")
            return STOPPED
    return status


def _status(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as end:  # argparse's, for --help and for options that it refuses
        return end.code if isinstance(end.code, int) else 0


def name_user() -> None:
    """Name a user without an account, as there are in containers: torch asks for the name to make an optimiser."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


class _Stream(io.TextIOWrapper):
    """A standard stream that goes to /dev/null once it could not be written, so that leaving fails no second time."""

    def write(self, text: str, /) -> int:
        with self._watched():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._watched():
            super().flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            self.lost(error)

    def lost(self, error: OSError) -> None:
        """Errors that cannot be told change nothing else."""


class _Output(_Stream):
    def lost(self, error: OSError) -> None:
        raise OutputError(f"standard output cannot be written: {error.strerror}.") from error


@contextmanager
def _streams() -> Iterator[None]:
    """Both standard streams as `run` says; one that is closed stays None, or for errors goes to /dev/null."""
    codecs.register_error("stand-in", _stand_in)
    out, err = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        wrapped = [_wrapped(_Stream, err or nowhere)]
        sys.stderr = wrapped[0]
        if out is not None:
            sys.stdout = _wrapped(_Output, out)
            wrapped.append(sys.stdout)
        try:
            yield
        finally:
            for stream in wrapped:
                stream.detach()
            sys.stdout, sys.stderr = out, err


def _wrapped(kind: type[_Stream], stream: TextIO) -> _Stream:
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors="stand-in",
        line_buffering=stream.line_buffering,  # type: ignore[arg-type]
        write_through=getattr(stream, "write_through", False),  # PYTHONUNBUFFERED
    )


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """For the first character that an encoding lacks, and where to go on."""
    assert isinstance(error, UnicodeEncodeError), error
    character, following = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name, which is no text in this encoding
        return bytes([ord(character) - 0xDC00]), following
    return STAND_INS.get(character, ascii(character)[1:-1]), following
