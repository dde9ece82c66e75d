"""What all command lines say, and where: results on standard output, errors on standard error. And how they stop."""

import os
import signal
import sys
import threading

from rich.console import Console

WIDTH_IN_A_FILE = 140
"""Columns where there is no terminal to ask."""


def console() -> Console:
    """Standard output; text in brackets is text."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE)


def complain(error: object) -> None:
    """One line on standard error, which says what is wrong and what to do about it."""
    Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", style="red", soft_wrap=True)


def warn(text: str | None) -> None:
    """One line on standard error of what the user should know; nothing for None."""
    if text:
        Console(stderr=True, highlight=False, markup=False).print(f"warning: {text}", style="yellow", soft_wrap=True)


def hear_stops() -> None:
    """SIGTERM stops as ^C does, and neither goes unheard.

    Python drops a KeyboardInterrupt that comes while a finalizer or a weak reference's callback runs, and only tells
    `sys.unraisablehook` of it; such a one is sent again a moment later.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        again = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM])  # a background job may ignore SIGINT
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(dropped)
