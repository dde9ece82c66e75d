"""Files that are either whole or absent, written to where their links point."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A context with a path to write to: if it ends without error, what was written there takes the place of `path`.

    A symbolic link stays, and the file that it points to is replaced. A pipe or a device cannot be replaced, so it is
    written directly. If `path` is standard output (/dev/stdout, or the file that it goes to), the content is printed.
    An `OSError` from the block names `path`.
    """
    with _place(path) as written:
        try:
            yield written
        except OSError as error:
            if error.errno and error.filename in (None, str(written)):  # a full disk's has no name
                error.filename = str(path)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, in UTF-8; until it is whole, an old one stays.

    Surrogate escapes become the bytes that they stand for. Raises `OSError` that names `path`, such as for a folder
    that is not there, and `UnicodeEncodeError` for other lone surrogates.
    """
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")


@contextmanager
def _place(path: Path) -> Iterator[Path]:
    """The path to write to; when the block ends, its content comes to `path`."""
    target = behind_links(path)
    if is_output(path):
        with TemporaryDirectory() as folder:
            yield Path(folder, path.name)
            sys.stdout.flush()
            with Path(folder, path.name).open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
    elif target.is_symlink() or (path.exists() and not path.is_file()):  # links in a circle are an error to open
        yield path
    else:
        partial = target.with_name(target.name + ".partial")
        try:
            yield partial
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def behind_links(path: Path) -> Path:
    """The absolute path with all links resolved: the file to replace, so that a link stays a link; there or not."""
    return Path(os.path.realpath(path))


def is_output(path: Path) -> bool:
    """Whether a path is where standard output goes; False for a path that is not there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (AttributeError, OSError, ValueError):  # one of them is no file, or closed
        return False
