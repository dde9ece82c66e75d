"""Functions that numba compiles."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: `numba.njit` with these options, and machine code that is kept for the next process.

    A function is compiled when it is first called. numba keeps the code beside the module or in the user's cache
    folder. Where it can write to neither, every process compiles anew.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            return njit(**options)(function)

    return decorated
