"""Where networks are trained."""

import torch


def training_device(name: str) -> torch.device:
    """Of `auto` (a GPU if there is one), `cpu` and `cuda`. Raises `ValueError` for `cuda` where torch sees none."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("`--device cuda`: torch sees no CUDA device here; take `--device cpu`.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
