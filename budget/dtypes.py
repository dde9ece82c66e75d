"""Dtypes at inference: what parameters take in each, and the convention that its networks are counted by."""

from dataclasses import dataclass

from budget.conventions import DCASE, FOLDED, Convention, Cost
from budget.errors import UserError
from budget.layers import Count


@dataclass(frozen=True)
class Dtype:
    """How a network is stored at inference. What is no parameter, such as scales and zero points, is not counted."""

    name: str
    """The key in `DTYPES`, such as float16."""
    weight_bytes: int
    """Bytes that a weight of a convolution's kernel takes."""
    other_bytes: int
    """Bytes that a bias, or a parameter of a batch norm, takes."""
    activation_bytes: int
    """Bytes that an element of an activation takes."""
    convention: Convention
    """The convention that counts a network as it runs in this dtype."""

    def bytes(self, cost: Cost) -> Count:
        """The bytes that the parameters of a cost take in this dtype."""
        return self.weight_bytes * cost.weights + self.other_bytes * cost.others


DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("float32", 4, 4, 4, DCASE),
        Dtype("float16", 2, 2, 2, DCASE),
        Dtype("int8", 1, 4, 1, FOLDED),  # quantised after folding; biases are int32, the norms that are left float32
    )
}
"""All dtypes, by name."""

DEFAULT_DTYPE = "float16"
"""The name of the dtype that is counted where none is given."""


def dtype_named(name: str) -> Dtype:
    """The dtype of that name; raises `UserError` for a name that is not in `DTYPES`."""
    try:
        return DTYPES[name]
    except KeyError:
        raise UserError(f"`dtype` must be one of {', '.join(DTYPES)}, but got {name!r}.") from None
