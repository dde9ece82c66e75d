"""The nearest network that fits to an edited one, and how many of the space begin as it does."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from budget.dtypes import dtype_named
from budget.errors import UserError
from dynacp.student.architecture import Architecture
from nas.editing.edits import entering, expansion_of
from nas.editing.judged import Judged, Terms, after_one_edit
from nas.space.counting import count, limited_activation_bytes
from nas.space.feasible import Feasible
from nas.space.network_wide import UNVARIED
from nas.space.space import Space

MOST_EDITS = 400
"""The most single edits of a network, some ten blocks', that are tried with another behind them: it takes seconds."""


def nearest(judged: Judged) -> Architecture:
    """A network that keeps the limits: this one, or else one or two edits away, or else what `block_by_block` gives.

    Of those that one or two edits give, it is the one whose bytes and MACs change least, as shares of the limits; two
    are tried where at most `MOST_EDITS` can come first. Takes seconds. Raises `UserError` as `block_by_block` does.
    """
    here, space, terms = judged.architecture, judged.space, judged.terms
    if judged.verdict(judged.ledger).fits:
        return here
    networks = [here, *after_one_edit(here, space)]
    if len(networks) <= MOST_EDITS:
        networks += [twice for each in networks[1:] for twice in after_one_edit(each, space)]
    costs = count(networks, convention=terms.rule, dtype=terms.dtype)
    held = limited_activation_bytes(terms.limits, networks, dtype=terms.dtype)
    fits = terms.limits.allow(bytes=costs.bytes, macs=costs.macs, activation_bytes=held)
    if not fits.any():
        return block_by_block(judged)
    changed = abs(costs.macs - costs.macs[0]) / terms.limits.max_macs
    changed += abs(costs.bytes - costs.bytes[0]) / terms.limits.max_bytes
    return networks[int(np.argmin(np.where(fits, changed, np.inf)))]


def block_by_block(judged: Judged) -> Architecture:
    """The network of the space nearest to this one that keeps the limits, choice by choice (`Feasible.nearest`).

    It has as many blocks and the same network-wide choices, as far as the space has these; a network outside the space
    is first taken to the nearest values there. Raises `UserError` where nothing fits, and for another convention than
    the dtype's own.
    """
    space = _fixed(judged)
    feasible = _feasible(space, judged.terms)
    return space.decode(feasible.nearest(_encoded_nearly(judged.architecture, space)))


def _fixed(judged: Judged) -> Space:
    """The part of the space whose networks have this one's network-wide choices and number of blocks."""
    here, space = judged.architecture, judged.space
    known = {
        name: getattr(here, name)
        for name, values in space.network_wide.values.items()
        if getattr(here, name) in values.values()
    }
    blocks = min(max(len(here.blocks), space.min_blocks), space.max_blocks)
    return replace(
        space, frame=replace(space.frame, **known), network_wide=UNVARIED, min_blocks=blocks, max_blocks=blocks
    )


@lru_cache(maxsize=4)
def _feasible(space: Space, terms: Terms) -> Feasible:
    own = dtype_named(terms.dtype).convention
    if terms.rule != own:
        raise UserError(
            f"the space is counted as {terms.dtype} runs, which is {own.name}, and not as {terms.rule.name}: take that "
            "convention for this."
        )
    return Feasible(space, terms.limits, terms.dtype)


def _encoded_nearly(architecture: Architecture, space: Space) -> dict[str, Any]:
    """An encoding whose network is near this one: each choice of a block takes the nearest value of the space."""
    choices: dict[str, Any] = {}
    number = len(architecture.blocks)
    choices["blocks"] = space.max_blocks
    pairs = list(zip(entering(architecture), architecture.blocks, strict=False))
    for place in range(1, space.max_blocks + 1):
        channels, block = pairs[min(place, number) - 1]
        expansion = expansion_of(channels, block, space)
        choices |= {
            f"dilation_{place}": min(space.dilations, key=lambda each: abs(each - block.dilation)),
            f"form_{place}": block.form,
            f"expansion_{place}": min(space.expansions, key=lambda each: abs(each - expansion)),
            f"width_{place}": min(space.widths, key=lambda each: abs(each - block.out)),
        }
    return choices


MOST_OPEN = 3
"""The most blocks at the end that are left open where networks are counted: more would take long."""


def in_words(judged: Judged) -> str:
    """How many networks of the space that fit begin like this one, exactly, with one to `MOST_OPEN` blocks open.

    They have its network-wide choices and as many blocks. Raises `UserError` for another convention than the dtype's
    own.
    """
    if judged.outside:
        return "The search space does not hold this network."
    number = len(judged.architecture.blocks)
    feasible, told = _feasible(_fixed(judged), judged.terms), []
    for kept in range(max(number - MOST_OPEN, 0), number):
        fits = feasible.completions(judged.architecture, kept)
        first = {0: "have its network-wide choices", 1: "begin with its first block"}
        told.append(f"{fits:,} {first.get(kept, f'begin with its first {kept} blocks')}")
    return f"Of the networks of {number} blocks that fit, {'; '.join(told)}."
