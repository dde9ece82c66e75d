"""Single edits of a network, in the search space or beyond it.

An edit is a text such as `width_4=56`: what is changed, and to what. Blocks are numbered from 1, as in the search's
choices. An edit that changes the channels that enter a block keeps that block's expansion, and the channels of blocks
with a shortcut follow, as in the space (`Space.decode`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from budget.errors import UserError
from dynacp.student.architecture import IDENTITY, MOST_BLOCKS, PLAIN, Architecture, Block, as_text
from nas.space.space import FORMS, Space, expanded_channels

BLOCK_EDITS = ("dilation", "form", "expansion", "channels", "width")
"""What an edit can set of a block: `channels` are the expanded ones, `expansion` is their ratio to those that enter."""

MOVES = ("add", "duplicate", "up", "down", "remove")
"""What an edit can do with a block as a whole; `add_3=` puts a new one behind block 3, `add_0=` one in front."""

NETWORK_EDITS = ("input", "classes", "family", "stem", "activation", "pool", "norm", "response")
"""What an edit can set of the whole network: the fields of `Architecture` but for its blocks."""

NEW_EXPANSION = 2.1
"""The expansion of a block that is added."""


@dataclass(frozen=True)
class _Wish:
    """A block that keeps its expansion wherever it comes to stand."""

    block: Block
    entered: int | None
    """The channels that entered it where its `block.expanded` was chosen; None where `expansion` decides."""
    expansion: float = 0.0

    def built(self, channels: int, space: Space) -> Block:
        """The block behind so many channels."""
        block, expanded = self.block, self.block.expanded
        if channels != self.entered:
            expansion = expansion_of(self.entered, block, space) if self.entered else self.expansion
            expanded = max(8, int(expanded_channels(channels, expansion)))
        out = block.out if block.residual == PLAIN else channels
        return block if (expanded, out) == (block.expanded, block.out) else replace(block, expanded=expanded, out=out)


def edited(architecture: Architecture, edit: str, space: Space) -> Architecture:
    """The network after one edit.

    `space` says which expansion a block has where several give the same channels. Raises `UserError` for a text that is
    no edit of this network, and `ArchitectureError`, which is one, for an edit that gives no network.
    """
    name, found, value = edit.partition("=")
    what, _, place = name.partition("_")
    if found and not place and what in NETWORK_EDITS:
        return _frame_edited(architecture, what, value, space)
    if found and what in (*BLOCK_EDITS, *MOVES):
        number = _whole("the number of a block", place)
        if not (0 if what == "add" else 1) <= number <= len(architecture.blocks):
            raise UserError(f"there is no block {number} among {len(architecture.blocks)}.")
        wishes = _wishes(architecture)
        if what in MOVES:
            _move(wishes, what, number, architecture)
        else:
            wishes[number - 1] = _block_edited(wishes[number - 1], what, value)
        return _rebuilt(architecture, wishes, space)
    raise UserError(f"{edit[:80]!r} is no edit of a network; one is, for example, `width_4=56`.")


def expansion_of(entering: int, block: Block, space: Space) -> float:
    """A block's expansion: the first of the space's that gives its channels, or else their plain ratio."""
    known = (each for each in space.expansions if int(expanded_channels(entering, each)) == block.expanded)
    return next(known, block.expanded / entering)


def entering(architecture: Architecture) -> list[int]:
    """The channels that enter each block, and those that enter the head."""
    return [architecture.stem[1], *(block.out for block in architecture.blocks)]


def _wishes(architecture: Architecture) -> list[_Wish]:
    pairs = zip(entering(architecture), architecture.blocks, strict=False)
    return [_Wish(block, channels) for channels, block in pairs]


def _rebuilt(architecture: Architecture, wishes: Sequence[_Wish], space: Space, **fields: Any) -> Architecture:
    """The network of these blocks, with other network-wide fields where they are given."""
    blocks, channels = list[Block](), fields.get("stem", architecture.stem)[1]
    for wish in wishes:
        blocks.append(wish.built(channels, space))
        channels = blocks[-1].out
    return replace(architecture, blocks=tuple(blocks), **fields)


def _frame_edited(architecture: Architecture, what: str, value: str, space: Space) -> Architecture:
    if what in ("input", "stem"):
        parts = value.replace("x", "-").split("-")
        if len(parts) != 2:
            raise UserError(f"`{what}` must be two numbers, such as {as_text(getattr(architecture, what))}.")
        pair = tuple(_whole(what, part) for part in parts)
        return _rebuilt(architecture, _wishes(architecture), space, **{what: pair})
    if what == "classes":
        return replace(architecture, classes=_whole(what, value))
    if what == "family" and value == "cp":
        return replace(architecture, family=value, norm="depthwise")
    changed: dict[str, Any] = {what: value}
    return replace(architecture, **changed)


def _block_edited(wish: _Wish, what: str, value: str) -> _Wish:
    block = wish.block
    if what == "form":
        if value not in FORMS:
            raise UserError(f"`form` must be one of {', '.join(FORMS)}, but got {value[:80]!r}.")
        residual, stride = FORMS[value]
        return replace(wish, block=replace(block, residual=residual, stride=stride))
    if what == "expansion":
        return _Wish(block, None, _ratio(value))
    number = _whole(what, value)
    if what == "channels":
        return replace(wish, block=replace(block, expanded=number))
    if what == "width" and block.residual != PLAIN and number != block.out:
        raise UserError("a block with a shortcut keeps the channels that enter; take it without one to change them.")
    return replace(wish, block=replace(block, out=number) if what == "width" else replace(block, dilation=number))


def _move(wishes: list[_Wish], what: str, number: int, architecture: Architecture) -> None:
    """Do with block `number` of the list what `MOVES` says."""
    index = number - 1
    if what == "add":
        _more(wishes)
        channels = entering(architecture)[number]
        wishes.insert(number, _Wish(Block(8, channels, residual=IDENTITY), None, NEW_EXPANSION))
    elif what == "duplicate":
        _more(wishes)
        wishes.insert(number, wishes[index])
    elif what == "remove":
        if len(wishes) == 1:
            raise UserError("a network has one block at least.")
        del wishes[index]
    else:
        other = index + (1 if what == "down" else -1)
        if not 0 <= other < len(wishes):
            raise UserError(f"block {number} is at the end already.")
        wishes[index], wishes[other] = wishes[other], wishes[index]


def _more(wishes: Sequence[_Wish]) -> None:
    if len(wishes) >= MOST_BLOCKS:
        raise UserError(f"a network has at most {MOST_BLOCKS} blocks.")


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise UserError(f"{name} must be a whole number, but got {text[:80]!r}.")
    return int(text)


def _ratio(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < 1_000:
        raise UserError(f"`expansion` must be a number above 0, but got {text[:80]!r}.")
    return number
