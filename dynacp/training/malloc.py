"""How the process holds its memory while it trains."""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

LARGEST_KEPT, MOST_KEPT = 2**25, 2**31 - 1
"""Bytes: of a block that is kept (glibc's greatest), and in all (its integer's)."""


@cache
def keep_freed_memory() -> None:
    """Keep what is freed for what comes next, where the C library is glibc.

    By default it hands a tensor of some megabytes back to the system as soon as it is freed, and each page of the next
    one is fetched and zeroed anew: a training step of Table 1 with 32 clips takes 32,000 page faults so, a fifth of its
    time, and none with this (benchmarks/training.py). The process holds on to its peak, about a gigabyte, instead.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, MOST_KEPT)
