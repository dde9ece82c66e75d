"""What a network is judged by, as the page's fields say it."""

import re
from typing import TypeVar

from budget.limits import Limits
from nas.designer import layout
from nas.editing.judged import Terms

FIELDS = ("max-macs", "max-bytes", "max-activation-bytes", "dtype", "convention")
"""The ids of the fields, in the order that `terms_of` takes their values in."""

Otherwise = TypeVar("Otherwise", int, None)
"""A limit, or that there is none."""

_NUMBER = re.compile(r"\d{1,3}(,\d{3})+|\d{1,18}(\.\d+)?(e\+?\d{1,2})?", re.ASCII)


def terms_of(macs: str, size: str, held: str, dtype: str, convention: str, *, usual: Terms) -> tuple[Terms, list[str]]:
    """The terms, and what is wrong with the fields, a sentence each.

    A limit that is none is the one in `usual` until it is mended. Raises `UserError` for a dtype or a convention that
    does not exist.
    """
    faults = list[str]()

    def limit(text: str, unit: str, otherwise: Otherwise) -> int | Otherwise:
        if (number := _number(text)) is not None:
            return number
        until = "no limit" if otherwise is None else f"{otherwise:,}"
        faults.append(
            f"the limit of {unit} must be a whole number from 1 on, such as 128,000 or 15e6, but got "
            f"{text.strip()[:80]!r}; until then it is {until}."
        )
        return otherwise

    limits = Limits(
        max_bytes=limit(size or "", "bytes", usual.limits.max_bytes),
        max_macs=limit(macs or "", "MACs", usual.limits.max_macs),
        max_activation_bytes=limit(held, "bytes of activations", None) if (held or "").strip() else None,
    )
    return Terms(limits, dtype, "" if convention == layout.DTYPE_S_OWN else convention), faults


def _number(text: str) -> int | None:
    """A whole number from 1 on; None for anything else."""
    digits = text.strip()
    number = float(digits.replace(",", "")) if _NUMBER.fullmatch(digits) else 0.0
    return int(number) if 1 <= number < 1e18 and number.is_integer() else None
