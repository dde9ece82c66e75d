"""The teachers' networks: EfficientAT's MN and DyMN, and their official checkpoints."""

from dynacp.efficientat.checkpoints import NAMES, CheckpointError, fetch, load_checkpoint
from dynacp.efficientat.dymn import DyMN, dymn, mn_initialised_dymn
from dynacp.efficientat.families import FAMILIES, Family, Teacher
from dynacp.efficientat.mn import MN, mn

__all__ = [
    "FAMILIES",
    "MN",
    "NAMES",
    "CheckpointError",
    "DyMN",
    "Family",
    "Teacher",
    "dymn",
    "fetch",
    "load_checkpoint",
    "mn",
    "mn_initialised_dymn",
]
