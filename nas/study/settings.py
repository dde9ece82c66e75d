"""The settings that a search was started with, as its database keeps them; checked when a study is opened."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from budget.errors import UserError
from budget.limits import Limits
from dynacp.audio.features import FrontEnd
from dynacp.strict_json import check_shape
from dynacp.student.architecture import Architecture
from dynacp.teachers.settings import ALL
from nas.scoring.score import ScoreSettings
from nas.space.space import Space
from nas.strategy.baseline import DEFAULT_BASELINE, Baseline
from nas.strategy.propose import Rules

NETWORK_WIDE = "network_wide"
"""The entry of a stored space that holds the network-wide choices."""

BASELINE, BASELINE_NAME = "baseline", "baseline_name"
"""The entries of a stored identity and of stored settings that hold the network to beat, and what it is called; neither
is there where that is Table 1."""

ACTIVATIONS = "max_activation_bytes"
"""The entry of stored limits that holds the one of activations, None for none."""

BEFORE: dict[str, Any] = {
    "limits": {ACTIVATIONS: None},
    "space": {NETWORK_WIDE: {}},
    "teachers": {"which": ALL, "cross_fitted": False},
    "score": {"distillation": {"views": 0}},
}
"""The entries of a stored identity that older studies lack: what each was before it could be chosen."""

_SHAPE: dict[str, Any] = {
    "identity": {
        "data": str,
        "sampler": str,
        "seed": int,
        "dtype": str,
        "limits": {"max_bytes": int, "max_macs": int},
        "rungs": [int],
        "teachers": {},
        "score": {"recipe": {"batch": int, "peak_rate": float}},
        "space": {
            "min_blocks": int,
            "max_blocks": int,
            "dilations": [int],
            "expansions": [float],
            "widths": [int],
            "classes": int,
            "stem": [int],
        },
    },
    "command": str,
    "classes": [str],
    "clips": {"training": int, "validation": int},
    "threads": int,
    "versions": {},
}
"""What is read of the stored settings, as `dynacp.strict_json.check_shape` takes it."""


class StudyError(UserError):
    """A study that cannot be read, or cannot be resumed with these settings."""


DEFAULT_MARGIN = 0.01
"""The accuracy, in [0, 1], that may be lost against the baseline without counting as worse: one point."""


@dataclass(frozen=True)
class StudySettings:
    """A study's settings."""

    content: Mapping[str, Any]
    """Plain JSON, as the database holds it; what the properties give is part of it: do not change it."""

    @classmethod
    def of(
        cls,
        *,
        data: str,
        device: str,
        seed: int,
        sampler: str,
        rules: Rules,
        teachers: Mapping[str, object],
        score: ScoreSettings,
        front_end: FrontEnd,
        command: str,
        classes: Sequence[str],
        clips: Mapping[str, int],
        threads: int,
        versions: Mapping[str, str],
        margin: float = DEFAULT_MARGIN,
        baseline: Baseline = DEFAULT_BASELINE,
    ) -> "StudySettings":
        """The settings of a new search.

        - `data`: a digest of the clips and of their split; `clips`: how many are for `training` and for `validation`;
          `classes`: the names of their classes; `front_end`: how log-mels are made of them.
        - `device`: where networks are trained, `cpu` or `cuda`; `threads`: CPU threads of one worker.
        - `sampler`: a name of `nas.strategy.samplers.SAMPLERS`; `seed`: the search's; `rules`: those of a candidate.
        - `teachers`: all that their logits depend on, as plain JSON; `score`: the training that scores a candidate.
        - `command`: the command line that started the search; `versions`: library -> version, for the record.
        - `margin`: the accuracy, in [0, 1], that may be lost against the baseline without counting as worse.
        - `baseline`: the network to beat, with any number of classes.
        """
        identity = {
            "data": data,
            "device": device,
            "seed": seed,
            "sampler": sampler,
            "dtype": rules.dtype,
            "limits": rules.limits.given,
            "rungs": [score.recipe.samples],
            "teachers": teachers,
            "score": asdict(score),
            "space": _described(rules.space, len(classes)),
            "front_end": asdict(front_end),
        }
        record = {"command": command, "classes": classes, "clips": clips, "threads": threads, "versions": versions}
        if baseline.is_table1:
            return cls({"identity": identity, **record, "margin": margin})
        identity[BASELINE] = json.loads(baseline.for_classes(len(classes)).architecture.to_json())
        return cls({"identity": identity, **record, "margin": margin, BASELINE_NAME: baseline.name})

    @classmethod
    def read(cls, content: Any) -> "StudySettings":
        """Checked settings from what a database holds. Raises `UserError` that names what is missing or wrong."""
        check_shape(content, _SHAPE, "settings")
        settings = cls(content)
        check_shape(settings.network_wide, {}, f"settings.identity.space.{NETWORK_WIDE}")
        check_shape(settings.network_wide, {name: [str] for name in settings.network_wide}, NETWORK_WIDE)
        if ACTIVATIONS in content["identity"]["limits"]:
            check_shape(settings.identity["limits"], {ACTIVATIONS: int}, "settings.identity.limits")
        settings.limits  # noqa: B018  (raises for limits that are none)
        settings.baseline  # noqa: B018  (raises for what is no network)
        return settings

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """All that candidates and scores depend on, as plain JSON: a search is resumed with the same, or refused.

        It has every entry of `BEFORE` too, which older studies lack.
        """
        return _with(self.content["identity"], BEFORE)

    @property
    def limits(self) -> Limits:
        """The limits that candidates keep.

        Raises `UserError` as `Limits` does.
        """
        stored = self.identity["limits"]
        return Limits(stored["max_bytes"], stored["max_macs"], stored[ACTIVATIONS])

    @property
    def dtype(self) -> str:
        """The dtype of parameters at inference, a name of `budget.dtypes.DTYPES`."""
        return self.identity["dtype"]

    @property
    def samples(self) -> int:
        """Training samples of one trial."""
        (samples,) = self.identity["rungs"]
        return samples

    @property
    def max_blocks(self) -> int:
        """The most blocks of a network in the space."""
        return self.identity["space"]["max_blocks"]

    @property
    def network_wide(self) -> Mapping[str, Sequence[str]]:
        """The network-wide choices, each with the names of its values; empty where the study varies none."""
        return self.identity["space"][NETWORK_WIDE]

    @property
    def chance(self) -> float:
        """The macro accuracy of guessing, in [0, 1]."""
        return 1 / self.identity["space"]["classes"]

    @cached_property
    def baseline(self) -> Baseline:
        """The network to beat, with a head for the data's classes; Table 1 where the study notes none.

        Raises `UserError` for what is no network, or has no name.
        """
        stored = self.identity.get(BASELINE)
        if stored is None:
            return DEFAULT_BASELINE.for_classes(self.identity["space"]["classes"])
        check_shape(self.content, {BASELINE_NAME: str}, "settings")
        return Baseline(Architecture.from_json(json.dumps(stored)), self.content[BASELINE_NAME])

    def refuse_other(self, name: str, wanted: "StudySettings") -> None:
        """Raise `StudyError` where the study `name`, whose settings these are, cannot be resumed with those `wanted`.

        It names each difference between their identities. Raises `UserError` as `baseline` does.
        """
        wanted = StudySettings(json.loads(json.dumps(wanted.content)))
        mine, others = ({**each.identity, BASELINE: str(each.baseline.architecture)} for each in (self, wanted))
        if differences := _differences(mine, others):
            remedy = (
                "Take the study's settings, as in the command that `python -m nas.report` shows, or another --study."
            )
            if self.baseline.architecture != wanted.baseline.architecture:
                remedy += (
                    " Its baseline is its candidate 0, which `python -m nas.export --pick 0` writes for --baseline."
                )
            lines = [f"{path}: {old!r} in the study, {new!r} now" for path, old, new in differences]
            told = f"study {name!r} was made with other settings and would mix what cannot be compared"
            raise StudyError("\n  ".join([f"{told}:", *lines]) + f"\n{remedy}")

    @property
    def margin(self) -> float:
        """The accuracy, in [0, 1], that an architecture may lose against the baseline and still count as not worse."""
        return self.content.get("margin", DEFAULT_MARGIN)

    @property
    def command(self) -> str:
        """The command line that created the study."""
        return self.content["command"]


def _with(stored: Any, absent: Mapping[str, Any]) -> Any:
    """Nested settings and those of `absent` that they lack; what is no mapping is returned as it is."""
    if not isinstance(stored, Mapping):
        return stored
    inner = {name: _with(stored.get(name, {}), each) for name, each in absent.items() if isinstance(each, Mapping)}
    return {**absent, **stored, **inner}


def _described(space: Space, classes: int) -> dict[str, Any]:
    """A space as plain JSON."""
    described = {**asdict(space), "classes": classes, "stem": space.frame.stem}
    del described["frame"]
    return {**described, NETWORK_WIDE: {name: list(values) for name, values in space.network_wide.values.items()}}


def _differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(set(old) | set(new))
        return [d for name in names for d in _differences(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))]
    return [] if old == new else [(path, old, new)]
