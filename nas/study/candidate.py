"""A candidate of a search, as a trial in its study."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from dynacp.student.architecture import Architecture
from nas.space.space import Space
from nas.strategy.baseline import TABLE1_NAME
from nas.strategy.pareto import Point
from nas.strategy.propose import Proposal, Rules, Scored
from nas.strategy.race import Run

_AT = "at "


def training_key(samples: int) -> str:
    """The name of the user attribute that notes a training of this many samples."""
    return f"{_AT}{samples}"


_NUMBER = (int, float)
_TRAINING = ("accuracy", "seed", "loss", "seconds")
"""The entries of a training's note that every version writes."""

STATISTICS = ("training_loss", "early_loss", "late_loss", "cross_entropy", "recording_cross_entropy")
"""Further entries of a training's note, by the names of `nas.scoring.score.Score`; older studies lack them."""

_NOTES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("candidate", "parameters", "macs", "bytes", "rejected", "duplicates"), int),
    **dict.fromkeys(("architecture", "layout"), str),
    "proposing_seconds": _NUMBER,
}
"""The user attributes that note a proposal, and their types."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An architecture of a search: what it costs, and what it scored in its training.

    `accuracy`, `merit`, `point` and `as_scored` need that training, and raise `KeyError` before.
    """

    trial: FrozenTrial
    """The trial of the search's Optuna study that holds all of it; no copy is made, so it must not change."""
    baseline: str = TABLE1_NAME
    """What the search calls its candidate 0."""

    @staticmethod
    def waiting(number: int, rules: Rules, proposal: Proposal) -> FrozenTrial:
        """A WAITING trial of a proposal, as a search adds it to its study; `number` is the candidate's."""
        cost = {name: int(number) for name, number in proposal.cost._asdict().items()}
        held = rules.activation_bytes(proposal.architecture)
        violations = rules.limits.violations(bytes=cost["bytes"], macs=cost["macs"], activation_bytes=held)
        return create_trial(
            state=TrialState.WAITING,
            params=proposal.choices,
            distributions=rules.space.distributions() if proposal.choices else {},
            # As a list, Optuna's first form of constraints: the one that its dashboard reads as well.
            system_attrs={"constraints": list(violations.values())},
            user_attrs={
                "candidate": number,
                "architecture": proposal.architecture.to_json(),
                "layout": str(proposal.architecture),
                **cost,
                "rejected": proposal.rejected,
                "duplicates": proposal.duplicates,
                "proposing_seconds": round(proposal.seconds, 3),
            },
        )

    @staticmethod
    def trained(
        number: int, rules: Rules, proposal: Proposal, *, samples: int, training: Mapping[str, float]
    ) -> "Candidate":
        """The candidate of a proposal that was trained already, in no storage.

        `number` is the candidate's. `training` holds the `seed` and the statistics of its training with so many
        samples, by name (fields of `nas.scoring.score.Score`); `accuracy` is required.
        """
        waiting = Candidate.waiting(number, rules, proposal)
        trial = create_trial(
            values=(training["accuracy"], waiting.user_attrs["macs"]),
            params=waiting.params,
            distributions=waiting.distributions,
            system_attrs=waiting.system_attrs,
            user_attrs=waiting.user_attrs | {training_key(samples): dict(training)},
            intermediate_values={samples: training["accuracy"]},
        )
        return Candidate(trial)

    def check(self, network_wide: Iterable[str] = ()) -> None:
        """Raise `ValueError` unless the trial holds what a search keeps of a candidate.

        `network_wide` are the names of the network-wide choices that it must have made.
        """
        notes, named = self.trial.user_attrs, f"trial {self.trial.number}"
        for name, kind in _NOTES.items():
            if not isinstance(notes.get(name), kind):
                raise ValueError(f"{named} has no {name!r} as a search notes it")
        try:
            self.architecture, self.fits  # noqa: B018  (raise for a trial that does not hold them)
            read = {*Space.read(self.trial.params), *network_wide} if self.number or self.in_space else set[str]()
            if unknown := read - self.trial.params.keys():
                raise LookupError(f"no {min(unknown)!r} among its parameters")
            whole = not self.scored or all(isinstance(self.training.get(name), _NUMBER) for name in _TRAINING)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{named} is not as a search keeps it ({error})") from None
        if not whole:
            raise ValueError(f"{named} notes a training without its {', '.join(_TRAINING)}")

    def requeued(self) -> FrozenTrial:
        """A WAITING trial of this candidate with its training, if it had one, to be added after its worker was lost."""
        return create_trial(
            state=TrialState.WAITING,
            user_attrs={name: value for name, value in self.trial.user_attrs.items() if name != "worker"},
            intermediate_values={self.samples: self.accuracy} if self.scored else {},
            **self._shared(),
        )

    def retraining(self, run: Run) -> FrozenTrial:
        """A WAITING trial of another training of this architecture, for the study of its further trainings."""
        named = ", ".join(f"{name} {value}" for name, value in run._asdict().items())
        attributes = {"training": f"{self.number}, {named}", "candidate": self.number, **run._asdict()}
        architecture = {name: self.trial.user_attrs[name] for name in ("architecture", "layout", "macs")}
        return create_trial(state=TrialState.WAITING, user_attrs=attributes | architecture, **self._shared())

    @property
    def as_scored(self) -> Scored:
        """What samplers see of it. Raises `KeyError` without a score."""
        return Scored(self.architecture, self.merit, self.macs, self.fits)

    def _shared(self) -> dict[str, Any]:
        trial = self.trial
        return {"params": trial.params, "distributions": trial.distributions, "system_attrs": trial.system_attrs}

    @property
    def number(self) -> int:
        """The candidate's number, in the order of proposing; 0 is the baseline."""
        return self.trial.user_attrs["candidate"]

    @property
    def name(self) -> str:
        """The candidate's name in tables: the baseline's name, or # and its number."""
        return f"#{self.number}" if self.number else self.baseline

    @property
    def in_space(self) -> bool:
        """Whether its network lies in the search space: then `trial.params` encode it. Only a baseline may lie outside.

        Samplers, and what looks at single choices, cannot make anything of one outside.
        """
        return bool(self.trial.params)

    @cached_property
    def architecture(self) -> Architecture:
        """The candidate's network. Raises `ArchitectureError` for a trial that holds none, as `check` finds out."""
        return Architecture.from_json(self.trial.user_attrs["architecture"])

    @property
    def macs(self) -> int:
        """Its MACs for one second of audio."""
        return self.trial.user_attrs["macs"]

    @property
    def bytes(self) -> int:
        """Bytes of its parameters at the search's inference dtype."""
        return self.trial.user_attrs["bytes"]

    @cached_property
    def samples(self) -> int:
        """Training samples of its training; 0 before that is done."""
        return max((int(name.removeprefix(_AT)) for name in self.trial.user_attrs if name.startswith(_AT)), default=0)

    @property
    def scored(self) -> bool:
        """Whether its training is done."""
        return self.samples > 0

    @property
    def training(self) -> Mapping[str, float]:
        """Its training's `seed` and statistics, by name; empty before that is done.

        Statistics are fields of `nas.scoring.score.Score`, `seconds` among them; older studies lack some of them.
        """
        return self.trial.user_attrs.get(training_key(self.samples), {})

    @property
    def accuracy(self) -> float:
        """The validation macro accuracy, in [0, 1]. Raises `KeyError` without a score."""
        return self.training["accuracy"]

    @property
    def merit(self) -> float:
        """What candidates are ranked by, more being better. Raises `KeyError` without a score.

        That is minus the mean training loss in nats; the accuracy in older studies, which did not keep that loss.
        """
        training = self.training
        return -training["training_loss"] if "training_loss" in training else training["accuracy"]

    @property
    def point(self) -> Point:
        """(validation macro accuracy, in [0, 1]; MACs for one clip). Raises `KeyError` without a score."""
        return self.accuracy, self.macs

    @property
    def finished(self) -> bool:
        """Whether it was trained, and a worker has ended it."""
        return self.trial.state == TrialState.COMPLETE

    @property
    def fits(self) -> bool:
        """Whether it keeps the search's limits."""
        return all(value <= 0 for value in self.trial.constraints.values())

    def __getitem__(self, attribute: str) -> Any:
        """A user attribute of the trial, such as parameters, layout, rejected, duplicates or proposing_seconds.

        Raises `KeyError` for one that it lacks.
        """
        return self.trial.user_attrs[attribute]
