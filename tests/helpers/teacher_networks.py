"""EfficientAT networks for the tests."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dynacp.efficientat import MN, DyMN


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def log_mels(batch: int, mels: int = 64, frames: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, mels, frames, generator=torch.Generator().manual_seed(seed))


def seeded(build: type[MN] | type[DyMN], width: float, classes: int, seed: int = 0) -> MN | DyMN:
    torch.manual_seed(seed)
    return build(width, classes).eval()


def ready(build: type[MN] | type[DyMN], width: float = 0.1, classes: int = 10) -> MN | DyMN:
    """A network whose logits are of the order of one, and differ from clip to clip; fresh ones are 1e-9 everywhere."""
    network = seeded(build, width, classes).train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network(log_mels(16, seed=1))
    for module in network.classifier:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    return network.eval()


def saved(state: object, folder: Path, name: str = "file.pt") -> Path:
    torch.save(state, folder / name)
    return folder / name
