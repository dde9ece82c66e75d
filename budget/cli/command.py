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

BAD_INPUT = 2
"""The exit status after an error that a user can mend."""

OUTPUT_LOST = 3
"""The exit status where standard output could not be written."""

STOPPED = 130
"""The exit status after ^C or SIGTERM."""

EXIT_STATUS = (
    "Exit status: 0 done, 2 bad input, 3 standard output could not be written (closed pipe, full disk), 130 stopped."
)
"""The end of the help of commands that have no other exit statuses."""

Add = Callable[..., Any]
"""The type of `add_argument`, of a parser or of a group of arguments in one."""

Given = ParamSpec("Given")
"""The parameters of a command that is decorated."""


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` for a command: options cannot be abbreviated, and the description keeps its line breaks.

    The help ends with the exit statuses (`EXIT_STATUS`). `settings` are those of `ArgumentParser`; they override these.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("epilog", EXIT_STATUS)
        super().__init__(**settings)


def add_limit_options(add: Add) -> None:
    """Add `--max-macs` and `--max-bytes`, by default the challenge's limits, and `--max-activation-bytes`.

    `add` is `add_argument` of a parser or a group. `limits_of` reads what is parsed: the ints `max_macs` and
    `max_bytes`, and `max_activation_bytes`, None where it is not given.
    """
    limits = Limits()
    add_whole_number(add, "--max-macs", limits.max_macs, "limit of MACs for one second of audio")
    add_whole_number(add, "--max-bytes", limits.max_bytes, "limit of bytes of parameters")
    add(
        "--max-activation-bytes",
        type=whole_number(1),
        metavar="N",
        help="limit of bytes of activations at their peak for one clip, in the dtype at inference (default: none)",
    )


def limits_of(options: argparse.Namespace) -> Limits:
    """The limits that the options of `add_limit_options` ask for."""
    return Limits(options.max_bytes, options.max_macs, options.max_activation_bytes)


def add_whole_number(
    add: Add, name: str, default: int, what: str, *, lowest: int = 1, highest: int = sys.maxsize
) -> None:
    """Add the option `name` (such as `--seed`), which takes a whole number in [lowest, highest].

    `add` is `add_argument` of a parser or a group. `what` is the option's help, without the default. `default` is not
    checked.
    """
    add(name, type=whole_number(lowest, highest), default=default, metavar="N", help=f"{what} (default: {default:,})")


def whole_number(lowest: int, highest: int = sys.maxsize) -> Callable[[str], int]:
    """A function for argparse's `type` that parses a whole number in [lowest, highest]; 30e6 is one as well.

    It raises `ArgumentTypeError` for any other number, and `ValueError` for text that is no number.
    """

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
    """A decorator for commands, which then return an exit status in place of raising errors that a user can mend.

    A `UserError` becomes a line on standard error and its own status; an `OSError` a line with `advice` added and
    `BAD_INPUT`; ^C prints `stopped` and gives `STOPPED`. Other errors pass. A command that returns None or 0 gives 0.
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
    """Run `main` as the command line of this process, and return the exit status.

    That is the status of `main`, or of the `SystemExit` that it raises; `OUTPUT_LOST` if standard output cannot be
    written; or `STOPPED` after ^C. A closed pipe gives no message, since whoever closed it knows why the command ended.
    Other errors pass. Call it in the main thread: it changes how the process takes signals (`hear_stops`).
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
    """Set $USER where the user has no account, as in containers: torch asks for a name when it makes an optimiser."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
