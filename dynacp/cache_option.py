"""`--cache` of the command lines: the folder for what can be computed again."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from dynacp.audio.tau import DataError


def add_cache_option(form: argparse.ArgumentParser | argparse._ArgumentGroup, holds: str) -> None:
    """Add `--cache`, by default a folder in the user's home; a user without home must give one."""
    folder = _in_home()
    default = " (default: %(default)s)" if folder else ""
    form.add_argument(
        "--cache", type=Path, default=folder, required=folder is None, metavar="DIR", help=f"for {holds}{default}"
    )


def _in_home() -> Path | None:
    try:
        folder = user_cache_path("dynacp")
    except RuntimeError:  # neither HOME nor an account
        return None
    return folder if folder.is_absolute() else None  # older versions of platformdirs leave a ~


@contextmanager
def cache_errors(folder: Path | None) -> Iterator[None]:
    """Raises `DataError` that names `--cache` for an `OSError` of a file in the folder, or of a folder above it."""
    try:
        yield
    except OSError as error:
        if folder is None or not isinstance(error.filename, str):
            raise
        file, cache = Path(os.path.realpath(error.filename)), Path(os.path.realpath(folder))
        if not (file.is_relative_to(cache) or cache.is_relative_to(file)):
            raise
        raise DataError(
            f"the cache {folder} cannot be used: {error.filename}: {error.strerror}. Name another with `--cache`."
        ) from None
