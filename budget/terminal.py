"""What all command lines say, and where: results on standard output, errors on standard error."""

import sys

from rich.console import Console

WIDTH_IN_A_FILE = 140
"""Columns where there is no terminal to ask."""


def console() -> Console:
    """Standard output; text in brackets is text."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE)


def complain(error: object) -> None:
    """One line on standard error, which says what is wrong and what to do about it."""
    Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", style="red", soft_wrap=True)
