"""What teachers say together, and whether they know anything.

The paper sums their logits; here they are averaged, which is the same at a matched temperature
(`dynacp.training.distillation`).

A teacher recognises the clips that it was fine-tuned on far better than others, so that what it says of them tells a
student little more than their labels. Cross-fitted teachers each leave out their share of the groups, and a clip's soft
label is from those that were not fine-tuned on its group (arXiv 2104.09732).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.tau import Clips, DataError, parts_of_whole_groups
from dynacp.audio.views import Views
from dynacp.stages import Stage, StageStore
from dynacp.training.loop import macro_accuracy

LEAST_LOCATIONS = 3
"""A class from fewer is heard by all teachers: one that leaves out a location, where another is held out for
validation, must still hear a third."""


def left_out(clips: Clips, teachers: int) -> np.ndarray:
    """The training clips that each of so many (three or more) cross-fitted teachers leaves out: bool [teachers, clips].

    Every group is left out by one of them at least, but for those of a class from fewer than `LEAST_LOCATIONS`, which
    none leaves out. Raises `DataError` for a group with clips of two classes.
    """
    places = [len(np.unique(clips.groups[clips.labels == label])) for label in range(len(clips.classes))]
    divided = np.array(places)[clips.labels] >= LEAST_LOCATIONS
    parts = np.zeros((teachers, len(clips)), dtype=bool)
    try:
        parts[:, divided] = parts_of_whole_groups(clips.take(divided), teachers, seed=0)
    except DataError as error:
        raise DataError(
            f"{error} Cross-fitted teachers leave out whole locations; `--set teachers.cross_fitted=false` lets them "
            "hear all."
        ) from None
    return parts


Flags = TypeVar("Flags", Tensor, np.ndarray)
"""An array of booleans, torch's or numpy's."""


class Known(NamedTuple):
    """How well single teachers, in their mean, know some clips."""

    accuracy: float
    """Their macro accuracy, in [0, 1]."""
    entropy: float
    """The entropy of their probabilities, in nats: the less, the less they say beyond one class."""


@dataclass(frozen=True)
class Ensemble:
    """What finished teachers say of clips, and how well they do on validation clips."""

    logits: Tensor
    """`mean_logits` of the training clips without augmentation, float32 [clips, classes]."""
    validation_logits: Tensor
    """The same of the validation clips."""
    accuracies: dict[str, float]
    """Name of a teacher -> its macro accuracy on the validation clips, in [0, 1]."""
    accuracy: float
    """The macro accuracy of the teachers' mean logits on the validation clips, in [0, 1]."""
    seen: Known
    """How each knows the clips that it was fine-tuned on."""
    unseen: Known
    """How each knows the others: those of validation, and where teachers are cross-fitted those that it left out."""
    views: Views | None = None
    """Views of all clips, if teachers were asked about any."""
    view_logits: Tensor | None = None
    """`dynacp.teachers.views.mean_logits_of_views`, float32 [views, all clips, classes]."""

    @classmethod
    def of(cls, stages: Mapping[str, Stage], store: StageStore, labels: np.ndarray, training: int) -> "Ensemble":
        """The ensemble of finished teachers, `stages` by name. Raises `StageError` for one that is not finished.

        `labels` are the class numbers of the clips whose logits they stored, of which so many are for `training`; the
        rest is validation.
        """
        stored, validation = {name: store.load(stage) for name, stage in stages.items()}, labels[training:]
        mean = mean_logits(list(stored.values()))
        return cls(
            logits=mean[:training],
            validation_logits=mean[training:],
            accuracies={name: macro_accuracy(each["logits"][training:], validation) for name, each in stored.items()},
            accuracy=macro_accuracy(mean[training:], validation),
            seen=known(stored.values(), labels, seen=True),
            unseen=known(stored.values(), labels, seen=False),
        )

    @property
    def fingerprint(self) -> str:
        """A hash of the training clips' logits, eight hexadecimal digits.

        It differs between ensembles that machines rounded differently.
        """
        return blake2b(self.logits.numpy().tobytes(), digest_size=4).hexdigest()


def known(stored: Iterable[Mapping[str, Any]], labels: np.ndarray, *, seen: bool) -> Known:
    """How well teachers know the clips that each was fine-tuned on, or with `seen=False` the others.

    `stored` are the contents of their stages, `labels` the class numbers of the clips whose logits they stored. NaN for
    no clips.
    """
    each = []
    for teacher in stored:
        counts = teacher["seen"] == seen
        if counts.any():
            logits = teacher["logits"][counts]
            entropies = torch.distributions.Categorical(logits=logits).entropy()
            each.append((macro_accuracy(logits, labels[counts.numpy()]), entropies.mean().item()))
    return Known(*np.mean(each, axis=0).tolist()) if each else Known(math.nan, math.nan)


def what_they_know(seen: Known, unseen: Known) -> str:
    """A sentence on how well single teachers know what they were fine-tuned on, and what not, as `known` gives them."""
    told = (
        f"In the mean a teacher recognises {seen.accuracy:.1%} of the clips that it was fine-tuned on (the entropy of "
        f"its probabilities is {seen.entropy:.2f} nats)"
    )
    if math.isnan(unseen.accuracy):
        return f"{told}; there are no others."
    return f"{told} and {unseen.accuracy:.1%} of others ({unseen.entropy:.2f} nats)."


def heard_of(seen: Flags) -> Flags:
    """Which clips each teacher speaks of, given those that each was fine-tuned on; both bool [teachers, clips].

    They are those that it was not fine-tuned on, and those that all were.
    """
    return ~seen | seen.all(0)


def mean_logits(stored: Sequence[Mapping[str, Any]]) -> Tensor:
    """The mean of the logits that teachers (one at least) stored, float32 [clips, classes] on the CPU.

    For each clip it is over the teachers that `heard_of` gives; `stored` are the contents of their stages.
    """
    logits, seen = (torch.stack([each[name] for each in stored]) for name in ("logits", "seen"))
    heard = heard_of(seen).unsqueeze(-1)
    return (logits * heard).sum(dim=0) / heard.sum(dim=0)


def chance_warning(accuracies: Mapping[str, float], labels: np.ndarray, clips: str) -> str | None:
    """A warning about teachers whose macro accuracy is within two standard errors of guessing; None where none is.

    `accuracies` are in [0, 1], by the teacher's name, on clips with these class numbers [clips]; `clips` is what the
    warning calls the clips.
    """
    counts = np.unique(labels, return_counts=True)[1]
    chance = 1 / len(counts)
    error = math.sqrt(chance * (1 - chance) * np.sum(1 / counts)) / len(counts)
    weak = [f"{name} {accuracy:.1%}" for name, accuracy in accuracies.items() if accuracy <= chance + 2 * error]
    if not weak:
        return None
    return (
        f"Teachers not clearly better than guessing ({chance:.1%}) on {clips}: {', '.join(weak)}. Students learn "
        "little from them: fine-tune for more epochs, start from checkpoints (--mn, --dymn), or check the labels."
    )
