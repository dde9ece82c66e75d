"""The families of teachers: one record each. A new family is its network in a file of its own, and a record here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dynacp.efficientat.dymn import DyMN, mn_initialised_dymn
from dynacp.efficientat.mn import MN

Teacher = MN | DyMN
"""The network of a teacher, of either family."""


@dataclass(frozen=True)
class Family:
    """What tells one family of teachers from another."""

    name: str
    """Its name in settings (NAME, NAME_width, NAME_rate), in options (`--NAME`) and at the head of file names."""
    network: type[MN] | type[DyMN]
    """The network's class: makes one of a width for a number of classes, with weights from torch's global generator."""
    first_key: str
    """The tensor of a state dict that this family alone has."""
    made_from: str | None = None
    """The name of the family whose checkpoint serves where there is none of its own; None: no other does."""
    convert: Callable[[Any, int], Teacher] | None = None
    """A function (network of the family `made_from`, number of classes) -> network of this family; None without one."""

    @property
    def title(self) -> str:
        """Its name in tables, such as DyMN."""
        return self.network.__name__


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("mn", MN, first_key="features.0.0.weight"),
        Family("dymn", DyMN, first_key="in_c.0.weight", made_from="mn", convert=mn_initialised_dymn),
    )
}
"""All families, by name: mn and dymn."""
