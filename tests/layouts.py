"""Networks for the tests."""

import numpy as np

from dynacp.architecture import Architecture
from nas.space import Space


def random_layouts(number: int, *, seed: int, space: Space | None = None) -> list[Architecture]:
    """Uniform choices from the search space, not filtered by any limit."""
    space = space or Space()
    columns = space.sample(number, np.random.default_rng(seed))
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [space.decode(dict(zip(columns, row, strict=True))) for row in rows]
