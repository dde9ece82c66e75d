"""Architecture search over DynaCP architectures: accuracy against MACs, within the challenge's limits."""

import warnings

from optuna.exceptions import ExperimentalWarning

# Optuna's heartbeats, metric names and constant liar are called experimental; the versions are pinned and tested.
warnings.filterwarnings("ignore", category=ExperimentalWarning, module=r"nas\.")
