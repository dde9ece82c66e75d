"""How the process holds its memory while it trains or predicts."""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD = -1
"""A parameter of mallopt(3)."""

_MMAP_THRESHOLD = -3
"""A parameter of mallopt(3)."""

LARGEST_KEPT = 2**25
"""The largest block that is kept when freed, in bytes; glibc allows no larger one."""

MOST_KEPT = 2**31 - 1
"""The most bytes that are kept in all, the largest value of glibc's integer."""


@cache
def keep_freed_memory() -> None:
    """Make this process keep freed memory for what comes next, where the C library is glibc.

    By default it hands a tensor of some megabytes back to the system as soon as it is freed, and each page of the next
    one is fetched and zeroed anew: a training step of Table 1 with 32 clips takes 32,000 page faults so, a fifth of its
    time, and none with this (benchmarks/step.py). The process holds on to its peak, about a gigabyte, instead.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, MOST_KEPT)
