"""The limits among a study's settings: what is stored, read, and compared when a study is resumed."""

import json
from pathlib import Path
from typing import Any

import made_up
import pytest

from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import TABLE1
from dynacp.student.layers import steps_of
from nas.export import export
from nas.space.space import Space
from nas.strategy.propose import Proposal, Rules
from nas.strategy.samplers import SAMPLERS
from nas.study.settings import StudyError, StudySettings
from nas.study.store import Store, connect, default_storage
from nas.views.page import write_page

LIMITED = Limits(max_activation_bytes=400_000)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with room for the study `a`."""
    (tmp_path / "studies" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(limits: Limits) -> Any:
    return json.loads(json.dumps(made_up.settings(Space(), limits).content))


@pytest.mark.parametrize("limits", [Limits(), LIMITED, Limits(64_000, 20_000_000, 1)])
def test_stored_limits_are_read_as_they_were(limits: Limits) -> None:
    assert StudySettings.read(stored(limits)).limits == limits


def test_a_study_without_a_limit_of_activations_has_no_entry_for_it_as_older_studies_have_none() -> None:
    assert stored(Limits())["identity"]["limits"] == {"max_bytes": 128_000, "max_macs": 30_000_000}
    assert stored(LIMITED)["identity"]["limits"]["max_activation_bytes"] == 400_000


@pytest.mark.parametrize("damage", [None, "400000", 4e5, True, [400_000], 0, -1])
def test_a_limit_of_activations_that_is_none_is_damage_with_its_name(damage: object) -> None:
    content = stored(LIMITED)
    content["identity"]["limits"]["max_activation_bytes"] = damage
    with pytest.raises(ValueError, match="max_activation_bytes"):
        StudySettings.read(content)


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (Limits(), LIMITED, "limits.max_activation_bytes: None in the study, 400000 now"),
        (LIMITED, Limits(), "limits.max_activation_bytes: 400000 in the study, None now"),
    ],
)
def test_a_study_is_resumed_with_its_limit_of_activations_alone(
    before: Limits, now: Limits, named: str, here: Path
) -> None:
    storage = connect("a", default_storage("a"))
    for _ in range(2):
        Store.create_or_resume("a", storage, made_up.settings(Space(), before))
    with pytest.raises(StudyError, match=named):
        Store.create_or_resume("a", storage, made_up.settings(Space(), now))


def test_a_search_with_a_limit_of_activations_keeps_it_and_says_so_on_its_page_and_in_what_it_exports(
    here: Path,
) -> None:
    """Table 1, which is trained all the same, holds 659,456 bytes."""
    rules = Rules(Space(), LIMITED, "float16")
    start = [made_up.scored(0, rules, Proposal.of(TABLE1, rules), 0.5)]
    done = made_up.search(SAMPLERS["random"], rules, 6, start=start)
    held = [peak(steps_of(each.architecture)).bytes["float16"] for each in done]
    assert [each.fits for each in done] == [most <= 400_000 for most in held] == [False, *[True] * 5]
    store = Store.create_or_resume("a", connect("a", default_storage("a")), made_up.settings(Space(), LIMITED))
    store.study.add_trials([each.trial for each in done])
    store.read()
    page = " ".join(write_page(store, "python -m nas.search").read_text().split())
    assert "float16 parameters, which hold at most 400,000 bytes of activations at once, recognise acoustic" in page
    (_, _, described), *_ = export(store, store.candidates[0], here / "export")
    assert "over by 259,456 bytes of activations; activations take most at blocks.1.pool" in described.read_text()
    (_, _, described), *_ = export(store, store.candidates[1], here / "export")
    assert f"and {400_000 - held[1]:,} bytes of activations to spare" in described.read_text()
