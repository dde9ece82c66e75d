"""Networks of random weights whose batch norms have seen clips, so that clips differ in their answers."""

import torch
from torch import Tensor, nn

from dynacp.audio.features import FrontEnd, LogMel
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import Architecture
from dynacp.student.model import DynaCP, GlobalResponseNorm


def clips(number: int, *, seed: int) -> Tensor:
    """Log-mels [number, 1, 256, 89] of blocks, 32 bands x 30 frames each, that differ more between clips than noise."""
    blocks = torch.randn(number, 1, 8, 3, generator=torch.Generator().manual_seed(seed))
    return blocks.repeat_interleave(32, dim=2).repeat_interleave(30, dim=3)[..., :89]


def student(architecture: Architecture) -> Student:
    """Without a weight or bias that is zero: an exporter leaves out what adds nothing."""
    torch.manual_seed(0)
    network = DynaCP(architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = None  # the mean over all that it sees
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.2, 0.3)
        if isinstance(module, GlobalResponseNorm):
            nn.init.uniform_(module.weight, -0.5, 0.5)
            nn.init.uniform_(module.bias, -0.2, 0.3)
    with torch.no_grad():
        network.train()(clips(64, seed=1))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    names = tuple(map(str, range(architecture.classes)))
    return Student(network.eval(), LogMel(FrontEnd()), names, torch.float32)
