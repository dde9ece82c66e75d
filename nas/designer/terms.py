"""What a network is judged by, as the page's fields say it."""

import re

from budget.errors import UserError
from budget.limits import Limits
from nas.designer import layout
from nas.editing.judged import Terms

FIELDS = ("max-macs", "max-bytes", "max-activation-bytes", "dtype", "convention")
"""The ids of the fields, in the order that `terms_of` takes their values in."""

_NUMBER = re.compile(r"\d{1,3}(,\d{3})+|\d{1,18}(\.\d+)?(e\+?\d{1,2})?", re.ASCII)


def terms_of(macs: str, size: str, held: str, dtype: str, convention: str, *, usual: Terms) -> tuple[Terms, list[str]]:
    """The terms, and what is wrong with the fields, a sentence each.

    A limit that is none is the one in `usual` until it is mended. Raises `UserError` for a dtype or a convention that
    does not exist.
    """
    faults = list[str]()

    def limit(text: str, unit: str, otherwise: int | None) -> int | None:
        try:
            return _limit(text)
        except UserError as error:
            until = "no limit" if otherwise is None else f"{otherwise:,}"
            faults.append(f"the limit of {unit} must be {error}; until then it is {until}.")
            return otherwise

    before = usual.limits
    limits = Limits(
        max_bytes=limit(size, "bytes", before.max_bytes) or before.max_bytes,
        max_macs=limit(macs, "MACs", before.max_macs) or before.max_macs,
        max_activation_bytes=limit(held, "bytes of activations", None) if str(held or "").strip() else None,
    )
    return Terms(limits, dtype, "" if convention == layout.DTYPE_S_OWN else convention), faults


def _limit(text: str) -> int:
    number = str(text).strip()
    if not _NUMBER.fullmatch(number) or not 1 <= float(number.replace(",", "")) < 1e18:
        raise UserError(f"a number from 1 on, such as 128,000 or 15e6, but got {number[:80]!r}")
    return int(float(number.replace(",", "")))
