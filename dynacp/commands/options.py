"""The options that several commands share, and what they stand for."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from platformdirs import user_cache_path

from budget.cli.command import Add, answering
from budget.errors import UserError
from dynacp.audio.scenes import write_scenes

resumable = answering(
    "Stopped. What is finished is kept; the same command resumes.",
    advice="; what is finished is kept, mend this and give the command again.",
)
"""A decorator like `answering`, for commands that keep what is finished and resume it."""

BUILT_IN = "built-in"
"""The value of `--data` that stands for the synthetic scenes of `dynacp.audio.scenes`."""


def add_data_option(add: Add, what: str) -> None:
    """Add the option `--data`, a path as text, by default the built-in scenes; `data_root` makes it a folder.

    `add` is `add_argument` of a parser or a group. `what` is the option's help, without the default.
    """
    add("--data", default=BUILT_IN, metavar="PATH", help=f"{what} (default: built-in scenes)")


def data_root(options: argparse.Namespace, tell: Callable[[str], object] = lambda _: None) -> Path:
    """The folder that `--data` names, which need not be there; by default that of the built-in scenes.

    These are written into `--cache` first, which `tell` announces with a line of text; raises as `write_scenes` does.
    """
    if options.data != BUILT_IN:
        return Path(options.data)
    tell("Built-in scenes: writing them, if they are not there yet ...")
    return write_scenes(options.cache / "scenes")


def add_checkpoint_options(add: Add) -> None:
    """Add the options `--mn` and `--dymn`, paths of the checkpoints that teachers start from, or None.

    `add` is `add_argument` of a parser or a group.
    """
    add("--mn", type=Path, metavar="FILE", help="an EfficientAT MN checkpoint; without, MN starts from random weights")
    add(
        "--dymn",
        type=Path,
        metavar="FILE",
        help="the same for DyMN, which `--set teachers.which=all` adds; without, it starts from MN's, if any",
    )


def add_device_option(add: Add) -> None:
    """Add the option `--device`, whose values `training_device` understands.

    `add` is `add_argument` of a parser or a group.
    """
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train on (default: auto)")


def training_device(name: str) -> torch.device:
    """The device that `auto` (a GPU if there is one), `cpu` or `cuda` stands for.

    Raises `UserError` for `cuda` where torch sees none. Another name counts as `auto`.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("`--device cuda`: torch sees no CUDA device here; take `--device cpu`.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def add_cache_option(add: Add, holds: str) -> None:
    """Add the option `--cache`, a path, by default a folder in the user's home; required where there is no home.

    `add` is `add_argument` of a parser or a group. `holds` says in the option's help what the folder is for.
    """
    folder = _in_home()
    default = " (default: %(default)s)" if folder else ""
    add("--cache", type=Path, default=folder, required=folder is None, metavar="DIR", help=f"for {holds}{default}")


def _in_home() -> Path | None:
    try:
        folder = user_cache_path("dynacp")
    except RuntimeError:  # neither HOME nor an account
        return None
    return folder if folder.is_absolute() else None  # older versions of platformdirs leave a ~


@contextmanager
def cache_errors(folder: Path | None) -> Iterator[None]:
    """A context in which an `OSError` about a file in the cache, or a folder above it, becomes a `UserError`.

    The error names `--cache`. Other errors pass, and all do where `folder` is None.
    """
    try:
        yield
    except OSError as error:
        if folder is None or not isinstance(error.filename, str):
            raise
        file, cache = Path(os.path.realpath(error.filename)), Path(os.path.realpath(folder))
        if not (file.is_relative_to(cache) or cache.is_relative_to(file)):
            raise
        raise UserError(
            f"the cache {folder} cannot be used: {error.filename}: {error.strerror}. Name another with `--cache`."
        ) from None
