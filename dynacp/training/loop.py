"""One training loop for teachers and students, over log-mels that are already decoded.

Shapes: log-mels [batch, 1, mels, frames]; targets are probabilities [clips, classes].
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dynacp.audio.batches import Inputs
from dynacp.stages import StageError
from dynacp.student.fast_training import fast_training
from dynacp.training.examples import Examples
from dynacp.training.malloc import keep_freed_memory
from dynacp.training.schedule import Recipe

TRAINING_WORK = 3
"""How much longer it takes to train on a clip than to predict it, roughly."""

PREDICTED_AT_ONCE = 64
"""The number of clips in one batch of predictions."""


def one_hot(labels: np.ndarray, classes: int) -> Tensor:
    """Class numbers, int64 [clips], as float32 probabilities [clips, classes] of 0 and 1.

    Raises `RuntimeError` for a number that is not in [0, classes).
    """
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()


def train(
    model: nn.Module,
    examples: Examples,
    loss: Callable[..., Tensor],
    recipe: Recipe,
    *,
    seed: int,
    after_step: Callable[[], None] = lambda: None,
    after_epoch: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train `model` in place, on `examples.device`, by `loss(logits, *targets)`; returns each step's loss, before it.

    `model` turns log-mels [batch, 1, mels, frames] into logits [batch, classes], or into a tuple that begins with them.
    `loss` gives a scalar. `seed` decides order and augmentation. A loss that is not finite ends the training, as the
    last one returned. GPUs take bfloat16 where it is safe. `after_step` is called after each step, `after_epoch`
    between epochs.
    """
    keep_freed_memory()
    generator = torch.Generator().manual_seed(seed)
    device = examples.device
    model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = _one_cycle(optimizer, recipe)
    order, epochs, losses = torch.empty(0, dtype=torch.int64), 0, list[float]()
    with fast_training(model):
        for step in range(recipe.steps):
            while len(order) < recipe.batch:
                if epochs:
                    after_epoch()
                epochs += 1
                order = torch.cat([order, torch.randperm(len(examples), generator=generator)])
            clips, order = order[: recipe.batch], order[recipe.batch :]
            seen = (step * recipe.batch + torch.arange(recipe.batch)) // len(examples)
            batch, targets = examples.batch(clips, seen, generator)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type != "cpu"):
                output = model(batch.contiguous(memory_format=torch.channels_last))
            batch_loss = loss(_logits(output), *targets)
            losses.append(batch_loss.item())
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            batch_loss.backward()
            optimizer.step()
            schedule.step()
            after_step()
    return losses


def _one_cycle(optimizer: torch.optim.Optimizer, recipe: Recipe) -> torch.optim.lr_scheduler.OneCycleLR:
    # OneCycleLR divides by zero where the warm-up is one step exactly.
    warm_up = math.nextafter(recipe.warm_up, 0) if recipe.warm_up * recipe.steps == 1 else recipe.warm_up
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_rate, total_steps=recipe.steps, pct_start=warm_up, cycle_momentum=False
    )


@torch.no_grad()
def predict(
    model: nn.Module,
    features: Inputs,
    *,
    dtype: torch.dtype = torch.float32,
    after_batch: Callable[[], None] = lambda: None,
) -> Tensor:
    """Float32 logits [clips, classes] on the CPU, in evaluation mode, computed in `dtype`; of one clip at least.

    `model` turns log-mels [batch, 1, mels, frames] into logits, or into a tuple that begins with them. It is not
    copied: it stays in that mode and dtype, on the device of `features`. `after_batch` is called after each batch.
    """
    keep_freed_memory()
    model.to(device=features.device, dtype=dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    logits = []
    for clips in torch.arange(len(features)).split(PREDICTED_AT_ONCE):
        output = model(features[clips].to(dtype).contiguous(memory_format=torch.channels_last))
        logits.append(_logits(output).cpu())
        after_batch()
    return torch.cat(logits)


def _logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits in a network's output: a teacher gives its embedding as well."""
    return (output[0] if isinstance(output, tuple) else output).float()


def macro_accuracy(logits: Tensor, labels: np.ndarray) -> float:
    """The mean over classes of the share of each class's clips that is recognised, in [0, 1].

    `logits` are [clips, classes] on the CPU, `labels` class numbers [clips]; classes without clips do not count.
    """
    return macro_mean(logits.argmax(dim=1).numpy() == labels, labels)


def cross_entropies(logits: Tensor, labels: np.ndarray) -> np.ndarray:
    """The cross-entropy of each clip with its label in nats, [clips].

    `logits` are [clips, classes] on the CPU, `labels` class numbers, int64 [clips].
    """
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()


def macro_mean(values: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of the mean of each class's values; of `values` [clips], with class numbers `labels`."""
    return float(np.mean([values[labels == label].mean() for label in np.unique(labels)]))


def macro_recording_mean(values: np.ndarray, labels: np.ndarray, recordings: np.ndarray) -> float:
    """The mean over classes of the mean over each one's recordings of the mean of the values of their clips.

    All are [clips]: `values`, class numbers `labels`, and names of `recordings`. A recording with clips of two classes
    counts in each.
    """
    pairs = np.stack([recordings, labels.astype(str)])
    _, first, which = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    means = np.bincount(which.ravel(), values) / np.bincount(which.ravel())
    return macro_mean(means, labels[first])


def batches(clips: int) -> int:
    """The number of batches that predictions of this many clips take."""
    return math.ceil(clips / PREDICTED_AT_ONCE)


def state_on_cpu(network: nn.Module) -> dict[str, Tensor]:
    """A network's state dict with all tensors on the CPU, contiguous and without gradients, to be stored at once.

    Tensors that are on the CPU already may share the network's memory: copy them if it trains on.
    """
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def refuse_divergence(name: str, loss: float, recipe: Recipe) -> None:
    """Raise `StageError` if `loss`, the last one of the training called `name`, is not finite.

    `recipe` is that of the training: the error names its peak rate.
    """
    if not math.isfinite(loss):
        raise StageError(
            f"{name}: the training diverged, its loss became {loss}. Lower its peak rate ({recipe.peak_rate:g}) with "
            "`--set`; finished stages are kept."
        )
