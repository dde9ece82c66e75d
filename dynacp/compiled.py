"""Functions that numba compiles."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` with these options. The machine code is kept for the next process, where it can be.

    numba keeps it beside the module or in the user's cache, and raises `RuntimeError` if it can write to neither.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            return njit(**options)(function)

    return decorated
