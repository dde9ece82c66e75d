"""Standard output and error as commands write them: any encoding, a closed pipe and a full disk have an answer."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

STAND_INS = {"±": "+-", "…": "..."}
"""What is printed in place of characters that the output's encoding lacks; other such characters are escaped."""


class OutputError(Exception):
    """Standard output cannot be written. It is no `OSError`, since commands report those as errors of their files."""


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
        """Do nothing: a standard error that cannot be written changes nothing else."""


class _Output(_Stream):
    def lost(self, error: OSError) -> None:
        raise OutputError(f"standard output cannot be written: {error.strerror}.") from error


@contextmanager
def checked_streams() -> Iterator[None]:
    """A context in which standard output and error replace characters that their encoding lacks (`STAND_INS`).

    Where output cannot be written, standard output raises `OutputError`, and standard error drops the text. A standard
    output that is closed stays None; a standard error that is closed goes to /dev/null.
    """
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
    """The replacement of the first character that an encoding lacks, and the position to go on from."""
    assert isinstance(error, UnicodeEncodeError), error
    character, following = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name, which is no text in this encoding
        return bytes([ord(character) - 0xDC00]), following
    return STAND_INS.get(character, ascii(character)[1:-1]), following
