"""The teachers: EfficientAT's MN and DyMN, and their official checkpoints."""

from dynacp.efficientat.checkpoints import NAMES, CheckpointError, fetch, load_checkpoint
from dynacp.efficientat.dymn import DyMN, dymn, mn_initialised_dymn
from dynacp.efficientat.mn import MN, mn

__all__ = ["MN", "NAMES", "CheckpointError", "DyMN", "dymn", "fetch", "load_checkpoint", "mn", "mn_initialised_dymn"]
