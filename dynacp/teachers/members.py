"""Which teachers there are.

As in the paper (section 2.1), each family is fine-tuned four times: time-frequency masking on or off, time roll on or
off.
"""

from dataclasses import dataclass
from itertools import product

from dynacp.efficientat import FAMILIES, Family


@dataclass(frozen=True)
class Member:
    """One teacher of the ensemble, by what tells it from the others."""

    family: Family
    """The family of its network."""
    masking: bool
    """Whether bands and frames are masked in its training."""
    roll: bool
    """Whether clips are rolled in time in its training."""

    @property
    def name(self) -> str:
        """The teacher's name, such as mn-masking-roll."""
        return f"{self.family.name}-{'masking' if self.masking else 'plain'}-{'roll' if self.roll else 'still'}"


MEMBERS = tuple(Member(*choice) for choice in product(FAMILIES.values(), (False, True), (False, True)))
"""The paper's eight teachers: each family with and without masking and roll."""
