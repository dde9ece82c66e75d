"""How every command line is declared and run: its parser, options that commands share, errors, exit statuses."""

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from budget.cli.streams import OutputError, checked_streams
from budget.cli.terminal import complain, hear_stops
from budget.errors import UserError
from budget.limits import Limits

BAD_INPUT, OUTPUT_LOST, STOPPED = 2, 3, 130

EXIT_STATUS = (
    "Exit status: 0 done, 2 bad input, 3 standard output could not be written (closed pipe, full disk), 130 stopped."
)
"""The end of the help of commands that have no further statuses."""

Add = Callable[..., Any]
"""`add_argument` of a parser, or of a group in one."""

Given = ParamSpec("Given")


class CommandParser(argparse.ArgumentParser):
    """The parser of a command: no abbreviated options, the description as it is written, exit statuses at the end."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("epilog", EXIT_STATUS)
        super().__init__(**settings)


def add_limit_options(add: Add) -> None:
    """Add `--max-macs` and `--max-bytes`, by default the challenge's limits."""
    limits = Limits()
    add_whole_number(add, "--max-macs", limits.max_macs, "limit of MACs for one second of audio")
    add_whole_number(add, "--max-bytes", limits.max_bytes, "limit of bytes of parameters")


def add_whole_number(
    add: Add, name: str, default: int, what: str, *, lowest: int = 1, highest: int = sys.maxsize
) -> None:
    """Add an option that takes a whole number between two bounds; `what` is its help."""
    add(name, type=whole_number(lowest, highest), default=default, metavar="N", help=f"{what} (default: {default:,})")


def whole_number(lowest: int, highest: int = sys.maxsize) -> Callable[[str], int]:
    """The type of an option that takes a whole number between two bounds, both included; 30e6 is one as well."""

    def number(text: str) -> int:
        value = int(text) if text.strip("+-").isdigit() else float(text)
        if value != value or abs(value) == float("inf") or value != int(value):
            raise argparse.ArgumentTypeError(f"must be a whole number, but got {text}")
        if not lowest <= value <= highest:
            bound = f"at least {lowest}" if value < lowest else f"at most {highest}"
            raise argparse.ArgumentTypeError(f"must be {bound}, but got {text}")
        return int(value)

    number.__name__ = "whole number"  # argparse names it where the text is no number at all
    return number


def answering(
    stopped: str = "Stopped.", *, advice: str = ""
) -> Callable[[Callable[Given, int | None]], Callable[Given, int]]:
    """Decorate a command, so that it returns an exit status whatever happens.

    An error that a user can mend, and the system's errors, become one line on standard error (for the system's with
    `advice` added); ^C prints `stopped`.
    """

    def decorated(command: Callable[Given, int | None]) -> Callable[Given, int]:
        @wraps(command)
        def answered(*arguments: Given.args, **options: Given.kwargs) -> int:
            try:
                return command(*arguments, **options) or 0
            except UserError as error:
                complain(error)
                return error.status
            except OSError as error:
                complain(error, advice)
                return BAD_INPUT
            except KeyboardInterrupt:
                print(stopped)
                return STOPPED

        return answered

    return decorated


def run(main: Callable[[], int]) -> int:
    """Run a command line; returns its exit status, or 3 if standard output cannot be written, 130 if it is stopped.

    A reader that closes its pipe knows why the command ends, so that is not told.
    """
    hear_stops()
    name_user()
    with checked_streams():
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
