"""The network to beat: candidate 0 of a search, which is Table 1 of the DynaCP paper unless the user gives another."""

import re
from dataclasses import dataclass
from pathlib import Path

from budget.errors import UserError
from dynacp.audio.features import FrontEnd
from dynacp.strict_json import shown
from dynacp.student.architecture import TABLE1, Architecture, resolve, with_classes

TABLE1_NAME = "Table 1"
"""What people read where Table 1 is the network to beat."""

_NOT_PLAIN, _LONGEST_NAME = re.compile(r"[^\w. -]+"), 40


@dataclass(frozen=True)
class Baseline:
    """The network that a search's candidates are to beat; it need lie neither in the space nor within the limits.

    Raises `UserError` for a name that is too long, or that is not of letters, digits, `_`, `.`, `-` and spaces alone:
    pictures read more than text in other characters.
    """

    architecture: Architecture = TABLE1
    """The network, with any number of classes: a search gives it a head for those of its data."""
    name: str = TABLE1_NAME
    """What tables, pictures and sentences call it."""

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _LONGEST_NAME or _NOT_PLAIN.search(self.name):
            raise UserError(f"a baseline cannot be called {shown(self.name)}.")

    @classmethod
    def given(cls, architecture: str, front_end: FrontEnd) -> "Baseline":
        """The baseline that a command is given: a name that `resolve` knows, or the path of a JSON file.

        It is called after the file, or Table 1 where it is that network. Raises `ArchitectureError` for what is
        neither, and `UserError` for a network whose input is not the log-mel of one second that `front_end` makes.
        """
        network, made = resolve(architecture), (front_end.mels, front_end.frames(front_end.sample_rate))
        if network.input != made:
            raise UserError(
                f"`--baseline` {architecture!r}: the network takes {network.input[0]} x {network.input[1]} inputs, but "
                f'the front end gives {made[0]} x {made[1]}: give a network with "input": [{made[0]}, {made[1]}].'
            )
        if _is_table1(network):
            return cls(network)
        # No spaces, so that nothing else is called Table 1; and matplotlib leaves out of legends what begins with _.
        plain = _NOT_PLAIN.sub("-", Path(architecture).stem.replace(" ", "-"))[:_LONGEST_NAME].strip("_.-")
        return cls(network, plain or "baseline")

    @property
    def is_table1(self) -> bool:
        """Whether it is Table 1 of the DynaCP paper, whatever its number of classes."""
        return _is_table1(self.architecture)

    @property
    def with_source(self) -> str:
        """Its name, and of Table 1 also where that is found."""
        return f"{self.name} (DynaCP paper)" if self.is_table1 else self.name

    def for_classes(self, classes: int) -> "Baseline":
        """The same baseline with a head for so many classes; `ArchitectureError` for what can be none."""
        return Baseline(with_classes(self.architecture, classes), self.name)


DEFAULT_BASELINE = Baseline()
"""Table 1, the network to beat where no other is given."""


def _is_table1(architecture: Architecture) -> bool:
    return with_classes(architecture, TABLE1.classes) == TABLE1
