"""What a network is: a frozen description, from which its layers, cost and modules follow (`dynacp.student.layers`).

`TABLE1` is the network of the DynaCP paper, read so that it has exactly the paper's 28,938,900 MACs and 61,644
parameters (the table's Input column is a stale copy and cannot be met). Where the counts do not decide, this project
takes, once and here: average pools in the parallel branch and in the shortcut (CP-Mobile's shortcut is one, and the
paper says that both pools match), batch norm after the sum of both branches, ReLU6 throughout (the table gives it for
the stem), and dilation 1 in the second block (the table's Dilation column; dilation 2 then falls exactly on the
blocks with stride 1 x 1). No torch is imported here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from budget.errors import UserError
from dynacp.strict_json import JSONError, parse_json, read_json, shown

PLAIN = 1
"""The residual type of a block without a shortcut."""

IDENTITY = 2
"""The residual type of a block that adds its input to its output."""

POOLED = 3
"""The residual type of a block that adds its input, pooled with the block's stride."""

STEM_STRIDE = (2, 2)
"""(frequency, time) stride of both convolutions of the stem."""

MOST_WEIGHTS = 100_000_000
"""The most weights of a network, a thousand times what small devices hold. More are taken for a mistake: they would end
in an overflow of 64 bits, or in memory that runs out."""

MOST_ELEMENTS = 1 << 26
"""The most outputs of one layer for one clip, for the same reason."""

MOST_BLOCKS = 256
"""The most blocks of a network."""

MOST_DILATION = 1_024
"""The largest dilation of a block."""


class ArchitectureError(UserError):
    """A description that no network of this kind has; the message says why."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ArchitectureError(message)


def _positive_int(name: str, value: object) -> None:
    if not (type(value) is int and value > 0):
        raise ArchitectureError(f"`{name}` must be a positive integer, but got {shown(value)}.")
    if value > MOST_WEIGHTS:
        raise ArchitectureError(f"`{name}` must be at most {MOST_WEIGHTS:,}, but got {shown(value)}.")


def _one_of(name: str, value: object, choices: Sequence[object]) -> None:
    """Of the same type too: 2.0 equals 2, but has another JSON text and so another key."""
    if value not in choices or type(value) is not type(choices[choices.index(value)]):
        known = ", ".join(map(str, choices))
        raise ArchitectureError(f"`{name}` must be one of {known}, but got {shown(value)}.")


def _pair(name: str, value: object) -> None:
    if not (isinstance(value, tuple) and len(value) == 2):
        raise ArchitectureError(f"`{name}` must be a pair of integers, but got {shown(value)}.")
    for number in value:
        _positive_int(name, number)


def _check_size(where: str, weights: int, elements: int) -> None:
    if weights > MOST_WEIGHTS:
        raise ArchitectureError(f"{where}: a network may have at most {MOST_WEIGHTS:,} weights; lower its sizes.")
    if elements > MOST_ELEMENTS:
        raise ArchitectureError(f"{where}: a layer may have at most {MOST_ELEMENTS:,} outputs; lower its sizes.")


@dataclass(frozen=True, slots=True)
class Block:
    """One block, DPCPBlock(dilation)_residual in the paper: channels in -> expanded -> out.

    The channels that enter are those that leave the block before, so `Architecture` checks what depends on them. Raises
    `ArchitectureError` for fields that no block has.
    """

    expanded: int
    """The channels of the depthwise convolution."""
    out: int
    """The channels that leave the block."""
    dilation: int = 1
    """The dilation of the depthwise convolution, along both axes."""
    residual: int = PLAIN
    """The shortcut: `PLAIN` (1), `IDENTITY` (2, with stride (1, 1) alone) or `POOLED` (3, with other strides alone)."""
    stride: tuple[int, int] = (1, 1)
    """(frequency, time), each 1 or 2."""

    def __post_init__(self) -> None:
        for name in ("expanded", "out", "dilation"):
            _positive_int(name, getattr(self, name))
        _require(
            self.dilation <= MOST_DILATION, f"`dilation` must be at most {MOST_DILATION:,}, but got {self.dilation}."
        )
        _one_of("residual", self.residual, (PLAIN, IDENTITY, POOLED))
        _pair("stride", self.stride)
        for step in self.stride:
            _one_of("stride", step, (1, 2))
        strided = self.stride != (1, 1)
        _require(
            not (self.residual == IDENTITY and strided),
            f"`residual` 2 is the identity and needs stride (1, 1), but got {self.stride}; strided blocks take 1 or 3.",
        )
        _require(
            not (self.residual == POOLED and not strided),
            "`residual` 3 pools with the block's stride and needs one above (1, 1); a block without takes 1 or 2.",
        )

    @property
    def form(self) -> str:
        """The residual type and the stride, such as `3 2x1`."""
        return f"{self.residual} {self.stride[0]}x{self.stride[1]}"

    def __str__(self) -> str:
        return f"({self.dilation})_{self.residual} {self.expanded}>{self.out} {self.stride[0]}x{self.stride[1]}"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network: stem, blocks, head. One network has one description, and one JSON text.

    Raises `ArchitectureError` for other values than those that the fields list, for blocks that do not fit each other,
    and for sizes that can only be a mistake.
    """

    blocks: tuple[Block, ...]
    """The blocks, in order."""
    input: tuple[int, int] = (256, 89)
    """The size of the log-mel: (mel bands, frames)."""
    classes: int = 10
    """The number of classes, and of logits."""
    stem: tuple[int, int] = (8, 32)
    """The output channels of the stem's two convolutions."""
    family: str = "dpcp"
    """`dpcp` (depthwise convolution with bias, and a pool beside it) or `cp` (CP-Mobile's block: neither)."""
    activation: str = "relu6"
    """`relu6` or `relu`, everywhere."""
    pool: str = "average"
    """`average` or `maximum`: the kind of the pools in blocks and shortcuts."""
    norm: str = "sum"
    """Where the batch norm behind the depthwise convolution is: after the `sum` with the pool, or on the `depthwise`
    branch alone."""
    response: str = "none"
    """`global` where each block ends in a global response norm (ConvNeXt V2, arXiv 2301.00808), else `none`."""

    def __post_init__(self) -> None:
        _pair("input", self.input)
        _pair("stem", self.stem)
        _positive_int("classes", self.classes)
        _one_of("family", self.family, ("dpcp", "cp"))
        _one_of("activation", self.activation, ("relu6", "relu"))
        _one_of("pool", self.pool, ("average", "maximum"))
        _one_of("norm", self.norm, ("sum", "depthwise"))
        _one_of("response", self.response, ("none", "global"))
        _require(
            self.family == "dpcp" or self.norm == "depthwise",
            "`norm` must be 'depthwise' in the family 'cp', which has no pool to sum with.",
        )
        _require(
            isinstance(self.blocks, tuple) and len(self.blocks) > 0,
            "`blocks` must hold at least one block, but is empty.",
        )
        _require(
            len(self.blocks) <= MOST_BLOCKS,
            f"`blocks` must hold at most {MOST_BLOCKS} blocks, but holds {len(self.blocks):,}.",
        )
        channels = self.stem[1]
        for number, block in enumerate(self.blocks, start=1):
            _require(
                block.residual == PLAIN or block.out == channels,
                f"block {number}: `residual` {block.residual} adds the input, so `out` must equal the {channels} that "
                f"enter, but got {block.out}; `residual` 1 may change the channels.",
            )
            channels = block.out
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Raise `ArchitectureError` that names the part where the network becomes too large to be meant."""
        channels, (frequency, time), weights = 1, self.input, 0
        for out in self.stem:
            weights += 9 * channels * out
            channels, frequency, time = out, -(-frequency // STEM_STRIDE[0]), -(-time // STEM_STRIDE[1])
            _check_size("`input` and `stem`", weights, channels * frequency * time)
        for number, block in enumerate(self.blocks, start=1):
            weights += block.expanded * (channels + 9 + block.out)
            _check_size(f"block {number}", weights, max(block.expanded, block.out) * frequency * time)
            channels, frequency, time = block.out, -(-frequency // block.stride[0]), -(-time // block.stride[1])
        _check_size("`classes`", weights + channels * self.classes, self.classes * frequency * time)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this network."""
        return blake2b(self.to_json().encode(), digest_size=6).hexdigest()

    def to_json(self) -> str:
        """The JSON text of this network, which `from_json` reads.

        `response` is in it only where it is not `none`, so that networks keep the texts and keys under which studies
        and runs stored them before that field existed.
        """
        content = asdict(self)
        if self.response == "none":
            del content["response"]
        return json.dumps(content, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """The network in a JSON text, where fields left out take their defaults.

        Raises `ArchitectureError` for text that is no JSON, and for fields that no network has.
        """
        try:
            return cls._from(parse_json(text))
        except JSONError as error:
            raise ArchitectureError(str(error)) from None

    @classmethod
    def _from(cls, content: Any) -> "Architecture":
        _require(isinstance(content, dict), f"expected a JSON object with `blocks`, but got {type(content).__name__}.")
        blocks = content.get("blocks")
        _require(
            isinstance(blocks, list), "`blocks` is missing or no list; see `python -m budget --help` for the form."
        )
        built = []
        for number, block in enumerate(blocks, start=1):
            try:
                built.append(_build(Block, block))
            except ArchitectureError as error:
                raise ArchitectureError(f"block {number}: {error}") from None
        return _build(cls, {**content, "blocks": tuple(built)})

    @classmethod
    def read(cls, path: Path) -> "Architecture":
        """The network in a JSON file, as `from_json` reads it; raises `ArchitectureError` that names the file."""
        try:
            return cls._from(read_json(path))
        except OSError as error:
            raise ArchitectureError(f"{path}: cannot be read ({error.strerror or error}).") from None
        except (JSONError, ArchitectureError) as error:
            raise ArchitectureError(f"{path}: {error}") from None

    def __str__(self) -> str:
        """The blocks; before them what differs from the defaults, but for input and classes, which follow the data."""
        others = {
            field.name: field.default for field in fields(self) if field.name not in ("blocks", "input", "classes")
        }
        differing = [name for name, default in others.items() if getattr(self, name) != default]
        told = ", ".join(f"{name} {as_text(getattr(self, name))}" for name in differing)
        return " | ".join([*filter(None, [told]), *map(str, self.blocks)])


def as_text(value: str | tuple[int, ...]) -> str:
    """The value of a field of `Architecture` (text or integers, not blocks) as one word, such as `8-32` for a stem."""
    return value if isinstance(value, str) else "-".join(map(str, value))


def _build(cls: type, content: Any) -> Any:
    """A dataclass from parsed JSON: lists of numbers become tuples, unknown and missing fields are named."""
    if not isinstance(content, dict):
        raise ArchitectureError(f"a {cls.__name__.lower()} must be a JSON object, but got {shown(content)}.")
    known = _names(cls)
    if unknown := ", ".join(shown(name)[1:-1] for name in sorted(content.keys() - known)[:3]):
        raise ArchitectureError(f"unknown field {unknown}; a {cls.__name__.lower()} has {', '.join(sorted(known))}.")
    try:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})
    except TypeError as error:
        raise ArchitectureError(f"{cls.__name__.lower()}: {error}") from None


@cache
def _names(cls: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


TABLE1 = Architecture(
    blocks=(
        Block(64, 32, dilation=2, residual=IDENTITY),
        Block(64, 32, residual=POOLED, stride=(2, 1)),
        Block(64, 32, residual=POOLED, stride=(1, 2)),
        Block(64, 56, dilation=2),
        Block(120, 56, residual=POOLED, stride=(2, 1)),
        Block(120, 104, dilation=2),
    ),
)
"""The architecture of the DynaCP paper's Table 1: 28,938,900 MACs, 61,644 parameters."""

BASELINE = Architecture(
    blocks=(
        Block(64, 32, residual=IDENTITY),
        Block(64, 32, residual=IDENTITY),
        Block(64, 32, residual=POOLED, stride=(1, 2)),
        Block(64, 56, stride=(2, 1)),
        Block(120, 56, residual=IDENTITY),
        Block(120, 104),
    ),
    input=(256, 65),
    family="cp",
    activation="relu",
    norm="depthwise",
)
"""The architecture of the DCASE 2024/25 Task 1 baseline (CP-Mobile, simplified) on 32 kHz audio: 29,419,156 MACs,
61,148 parameters."""

NAMED = {"table1": TABLE1, "baseline": BASELINE}
"""The architectures that commands take by name."""


def resolve(architecture: str) -> Architecture:
    """The architecture that a command is given: a name in `NAMED`, or the path of a JSON file.

    Raises `ArchitectureError` for anything else.
    """
    if architecture in NAMED:
        return NAMED[architecture]
    path = Path(architecture)
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long, or a folder that may not be searched
        raise ArchitectureError(f"{shown(architecture)} cannot be read ({error.strerror}).") from None
    _require(there, f"{architecture!r} is neither a file nor one of {', '.join(NAMED)}.")
    return Architecture.read(path)


def with_classes(architecture: Architecture, classes: int) -> Architecture:
    """The same network with a head for another number of classes; `ArchitectureError` for what can be none."""
    return replace(architecture, classes=classes)
