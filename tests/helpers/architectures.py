"""Networks for the tests."""

import numpy as np

from dynacp.student.architecture import Architecture
from nas.space.space import Space


def random_architectures(number: int, *, seed: int, space: Space | None = None) -> list[Architecture]:
    """Uniform choices from the search space, not filtered by any limit."""
    return (space or Space()).networks(number, np.random.default_rng(seed))
