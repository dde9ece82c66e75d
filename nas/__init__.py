"""Architecture search over DynaCP architectures: accuracy against MACs, within the challenge's limits."""

import warnings

from optuna.exceptions import ExperimentalWarning

# Optuna's heartbeats, metric names and constant liar are called experimental; the versions are pinned and tested.
warnings.filterwarnings("ignore", category=ExperimentalWarning, module=r"nas\.")
# A parameter of the model of merits at its bound is no fault. For good, since a search fits it in several threads, for
# which `warnings.catch_warnings` is not safe.
warnings.filterwarnings("ignore", message="(The optimal value found for dimension|lbfgs failed to converge)")
