"""The ensemble of teachers: what it is made of, and that it survives a stop."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import Features
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import Clips, DataError
from dynacp.efficientat import FAMILIES, MN, CheckpointError, DyMN, mn
from dynacp.overrides import changed
from dynacp.pipeline.plan import TrainingSettings
from dynacp.settings import SettingError, named
from dynacp.stages import read_artifact
from dynacp.teachers.ensemble import Ensemble, chance_warning, known, left_out, what_they_know
from dynacp.teachers.members import MEMBERS, Member
from dynacp.teachers.settings import TeacherSettings
from dynacp.training.loop import predict, train
from nas.scoring.clips import SearchData

CLASSES = 3
ONE_EPOCH = TeacherSettings(epochs=1, batch=8)
VIEWED = Augmentation(roll_frames=4, mask_frames=0, mixstyle_probability=0.0, mixup_alpha=1.0)


def data(training: int = 24, validation: int = 6, key: str = "d") -> SearchData:
    """Clips of noise, small log-mels [clips, 64, 24] in one array."""
    clips = training + validation
    log_mels = np.random.default_rng(0).normal(size=(clips, 64, 24)).astype(np.float16)
    return SearchData(
        log_mels=log_mels,
        labels=np.arange(clips) % CLASSES,
        groups=np.arange(clips).astype(str),
        held_out=np.arange(clips)[None] >= training,
        left_out=lambda teachers: np.arange(clips) % teachers == np.arange(teachers)[:, None],
        classes=tuple("abc"),
        front_end=FrontEnd(mels=64),
        device=torch.device("cpu"),
        key=key,
        tables={},
    )


def prepare(
    folder: Path,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
    *,
    settings: TeacherSettings = ONE_EPOCH,
    seed: int = 0,
    key: str = "d",
    views: tuple[int, Augmentation] | None = None,
) -> Ensemble:
    return data(key=key).ensemble(settings, seed=seed, folder=folder, on_step=on_step, views=views)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the eight teachers; copy it to change it."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


def test_there_are_four_mn_and_four_dymn_one_for_each_setting_of_the_two_switches() -> None:
    assert len({member.name for member in MEMBERS}) == 8
    assert [member.family.name for member in MEMBERS] == ["mn"] * 4 + ["dymn"] * 4
    for member in MEMBERS:
        augmentation = TeacherSettings().recipe(member, 100).augmentation
        assert bool(augmentation.mask_bands and augmentation.mask_frames) == member.masking
        assert bool(augmentation.roll_frames) == member.roll


def test_an_epoch_of_a_teacher_is_as_many_samples_as_there_are_clips() -> None:
    assert TeacherSettings(epochs=3).recipe(Member(FAMILIES["mn"], True, True), 1_552).samples == 3 * 1_552


def test_every_number_of_a_teacher_s_training_is_a_setting_that_is_printed_and_can_be_changed() -> None:
    """A recipe holds nothing that no setting gave it, such as a default of its own."""
    numbers = (
        "batch=7",
        "mn_rate=0.011",
        "dymn_rate=0.012",
        "scratch_rate=0.013",
        "weight_decay=0.014",
        "warm_up=0.15",
    )
    given = changed(TrainingSettings(), [f"teachers.{number}" for number in numbers]).teachers
    printed = {value for _, value, _ in named(given)}
    for member in MEMBERS:
        recipe = asdict(given.recipe(member, 100))
        assert recipe.pop("samples") == 100 * given.epochs
        assert recipe.pop("augmentation").keys() == asdict(given.augmentation).keys()
        assert {recipe[name] for name in ("batch", "weight_decay", "warm_up")} == {7, 0.014, 0.15}
        assert set(recipe.values()) <= printed


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"warm_up": 0.0}, r"`warm_up` must be a share between 0 and 1, but got 0.0"),
        ({"weight_decay": -1e-4}, r"`weight_decay` must be 0 or more, but got -0.0001"),
    ],
)
def test_a_number_that_no_training_can_take_is_refused(changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        TeacherSettings(**changes)  # type: ignore[arg-type]


def test_other_weight_decay_or_warm_up_makes_other_teachers() -> None:
    identity = TeacherSettings().identity()
    assert identity != TeacherSettings(weight_decay=0.0).identity()
    assert identity != TeacherSettings(warm_up=0.5).identity()


def said(folder: Path, clips: Features, members: tuple[Member, ...] = MEMBERS) -> torch.Tensor:
    """What each of the stored teachers says of clips, [members, clips, classes]."""
    logits = []
    for member in members:
        (file,) = (each for each in folder.glob(f"{member.name}-*.pt") if "views" not in each.name)
        stored = read_artifact(file.with_suffix(""))
        teacher = ONE_EPOCH.build(member.family, CLASSES)
        teacher.load_state_dict(stored["state"])
        if isinstance(teacher, DyMN):
            teacher.temperature = stored["temperature"]
        logits.append(predict(teacher, clips))
    return torch.stack(logits)


def test_the_ensemble_s_logits_are_the_mean_of_what_its_stored_teachers_say(prepared: Path) -> None:
    ensemble = prepare(prepared)
    of_training, of_validation = (said(prepared, clips).mean(0) for clips in (data().training, data().validation))
    torch.testing.assert_close(ensemble.logits, of_training, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ensemble.validation_logits, of_validation, rtol=1e-4, atol=1e-4)
    assert set(ensemble.accuracies) == {member.name for member in MEMBERS}


def test_a_cross_fitted_clip_hears_the_teacher_that_left_it_out(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 24 training clips, each of the eight leaves out every eighth, and learns from 21 alone."""
    fitted = list[int]()

    def noted(model: object, features: Features, *arguments: object, **more: object) -> list[float]:
        fitted.append(len(features))
        return train(model, features, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("dynacp.teachers.fine_tuning.train", noted)
    ensemble = prepare(tmp_path, settings=replace(ONE_EPOCH, cross_fitted=True))
    assert fitted == [21] * 8
    of_training, clips = said(tmp_path, data().training), torch.arange(24)
    torch.testing.assert_close(ensemble.logits, of_training[clips % 8, clips], rtol=1e-4, atol=1e-4)
    of_validation = said(tmp_path, data().validation)  # which none has seen
    torch.testing.assert_close(ensemble.validation_logits, of_validation.mean(0), rtol=1e-4, atol=1e-4)
    unseen = torch.cat([torch.stack([of_training[each, clips % 8 == each] for each in range(8)]), of_validation], dim=1)
    assert ensemble.unseen.entropy == pytest.approx(Categorical(logits=unseen).entropy().mean().item(), rel=1e-4)
    names = {file.name for folder in (tmp_path, prepared) for file in folder.glob("*.pt")}
    assert len(names) == 16, "teachers that see all clips are others"


def test_what_teachers_know_is_told_of_clips_that_they_have_seen_and_of_others() -> None:
    """One is sure of its two clips, of which one is right, and undecided about the others."""
    sure, undecided = [[9.0, -9.0], [9.0, -9.0]], [[0.0, 0.0], [0.0, 0.0]]
    stored = [{"logits": torch.tensor(sure + undecided), "seen": torch.tensor([True, True, False, False])}]
    labels = np.array([0, 1, 0, 1])
    seen, unseen = (known(stored, labels, seen=each) for each in (True, False))
    assert seen.accuracy == 0.5
    assert seen.entropy == pytest.approx(0, abs=1e-6)
    assert unseen.entropy == pytest.approx(np.log(2))
    assert "50.0% of the clips that it was fine-tuned on" in what_they_know(seen, unseen)
    assert "and 50.0% of others (0.69 nats)" in what_they_know(seen, unseen)
    stored[0]["seen"][:] = True
    assert "there are no others" in what_they_know(seen, known(stored, labels, seen=False))


def at(*places: str) -> Clips:
    """A clip of each place; its first letter is its class, a or b."""
    files, devices = tuple(Path(f"{number}.wav") for number in range(len(places))), np.zeros(len(places), dtype=int)
    labels = np.array(["ab".index(place[0]) for place in places])
    return Clips(files, labels, devices, np.array(places), ("a", "b"), ("phone",))


@pytest.mark.parametrize("teachers", [4, 8])
def test_a_class_of_two_locations_is_heard_by_all_teachers_and_one_of_three_is_left_out(teachers: int) -> None:
    parts = left_out(at("a1", "a1", "a2", "b1", "b2", "b3"), teachers)
    assert not parts[:, :3].any()
    assert parts[:, 3:].sum(axis=1).tolist() == [1] * teachers, "of three locations each leaves out one"


@given(clips=st.lists(st.integers(1, 5), min_size=2, max_size=12), teachers=st.integers(3, 8))
@settings(max_examples=30)
def test_a_cross_fitted_teacher_hears_two_locations_of_each_class_or_all(clips: list[int], teachers: int) -> None:
    """However many clips each location has."""
    places = [f"{name}{place}" for name in "ab" for place, number in enumerate(clips) for _ in range(number)]
    parts = left_out(at(*places), teachers)
    for mine in np.split(np.arange(len(places)), 2):
        heard = [len({places[clip] for clip in mine if not row[clip]}) for row in parts]
        assert set(heard) == {len(clips)} or (min(heard) >= 2 and max(heard) < len(clips))
    assert not parts.any() or parts.any(axis=0).all(), "every location is left out by one at least"


def test_who_cannot_cross_fit_is_told_how_to_do_without() -> None:
    shared = replace(at("a1", "a2", "a3", "b1", "b2", "b3"), groups=np.array(["a1", "a2", "a3", "b1", "b2", "a3"]))
    with pytest.raises(DataError, match=r"'a3' holds .* `--set teachers.cross_fitted=false` lets them hear all"):
        left_out(shared, 8)


def test_four_cross_fitted_teachers_leave_out_a_quarter_each(tmp_path: Path) -> None:
    ensemble = prepare(tmp_path, settings=replace(ONE_EPOCH, which="mn", cross_fitted=True))
    of_training, clips = said(tmp_path, data().training, MEMBERS[:4]), torch.arange(24)
    torch.testing.assert_close(ensemble.logits, of_training[clips % 4, clips], rtol=1e-4, atol=1e-4)
    assert set(ensemble.accuracies) == {member.name for member in MEMBERS[:4]}


@pytest.mark.parametrize("cross_fitted", [False, True])
def test_what_teachers_say_of_views_is_of_the_very_views_that_students_hear(
    cross_fitted: bool, prepared: Path, tmp_path: Path
) -> None:
    """Cross-fitted, each clip hears the one that left it and its partner out; no view mixes training and validation."""
    asked, settings = (2, replace(VIEWED, mask_bands=5)), replace(ONE_EPOCH, cross_fitted=cross_fitted)
    if not cross_fitted:
        shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    ensemble = prepare(tmp_path, settings=settings, views=asked)
    assert ensemble.views is not None and ensemble.view_logits is not None
    clips, names = torch.arange(30), torch.eye(30)
    for number in range(2):
        heard = Features(ensemble.views.batch(clips, number)[:, 0].numpy(), clips.numpy(), torch.device("cpu"))
        of_all = said(tmp_path, heard)
        expected = of_all[clips % 8, clips] if cross_fitted else of_all.mean(0)
        torch.testing.assert_close(ensemble.view_logits[number], expected, rtol=1e-3, atol=1e-3)
        mixed = ensemble.views.mix(names, clips, number) > 0
        for clip, partner in mixed.nonzero().tolist():
            assert (clip < 24) == (partner < 24)
            assert not cross_fitted or clip % 8 == partner % 8


def test_a_teacher_that_another_worker_is_at_comes_last(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    (first,) = tmp_path.glob(f"{MEMBERS[0].name}-*.pt")
    (second,) = tmp_path.glob(f"{MEMBERS[1].name}-*.pt")
    for file in (first, second):
        file.unlink()
    lock, order = FileLock(first.with_suffix(".lock")), list[str]()
    lock.acquire()

    def on_step(name: str, _step: int, _steps: int) -> None:
        order.append(name)
        lock.release(force=True)  # the other worker gives up

    prepare(tmp_path, on_step)
    assert first.exists() and second.exists()
    assert list(dict.fromkeys(order)) == [*(member.name for member in MEMBERS[1:]), MEMBERS[0].name]


def test_an_interrupted_preparation_resumes_with_the_next_teacher_and_ends_alike(
    prepared: Path, tmp_path: Path
) -> None:
    def stop_in_the_third(name: str, step: int, steps: int) -> None:
        if step == 10:  # three steps of training and one of prediction a teacher
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "stopped", stop_in_the_third)
    finished = {file: file.stat().st_mtime_ns for file in (tmp_path / "stopped").glob("*.pt")}
    assert len(finished) == 2
    steps: list[int] = []
    resumed = prepare(tmp_path / "stopped", lambda _name, step, _total: steps.append(step))
    assert {file: file.stat().st_mtime_ns for file in finished} == finished, "finished teachers are not trained again"
    assert steps == sorted(steps)
    assert steps[-1] == 32
    assert torch.equal(resumed.logits, prepare(prepared).logits)


def test_other_seeds_and_other_data_have_teachers_of_their_own(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    for seed, key in ((0, "d"), (1, "d"), (0, "e"), (0, "d")):
        prepare(tmp_path, seed=seed, key=key)
    assert len(list(tmp_path.glob("*.pt"))) == 3 * len(MEMBERS)


def test_a_checkpoint_of_the_wrong_family_is_refused_and_the_right_one_starts_both(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "mn02.pt"
    torch.save(mn(0.2, 527).state_dict(), file)
    with pytest.raises(CheckpointError, match=r"mn02.pt: holds a MN, but was given as the DyMN checkpoint"):
        TeacherSettings(dymn=file).build(FAMILIES["dymn"], CLASSES)
    settings = TeacherSettings(mn=file)
    assert isinstance(settings.build(FAMILIES["mn"], CLASSES), MN)
    assert isinstance(settings.build(FAMILIES["dymn"], CLASSES), DyMN)
    assert settings.start(FAMILIES["mn"]) == "from checkpoint mn02.pt"
    assert settings.start(FAMILIES["dymn"]) == "MN-initialised from mn02.pt"
    assert replace(settings, mn=None).start(FAMILIES["dymn"]) == "from random weights, width 0.1"


def test_teachers_are_chosen_by_how_their_names_begin() -> None:
    assert TeacherSettings().members == MEMBERS
    assert TeacherSettings(which="mn").members == MEMBERS[:4]
    assert [each.name for each in TeacherSettings(which="dymn-plain-still").members] == ["dymn-plain-still"]
    assert TeacherSettings(which="mn").described() == ["MN teachers: 4, from random weights, width 0.1."]
    assert "dymn" not in TeacherSettings(which="mn").identity()
    with pytest.raises(SettingError, match=r"`which` must be all, or how some of these begin: mn-plain-still,.* 'cnn'"):
        TeacherSettings(which="cnn")
    with pytest.raises(SettingError, match=r"`which` must be 3 teachers or more where .* true, .* 'mn-m'"):
        TeacherSettings(which="mn-m", cross_fitted=True)


def test_a_checkpoint_that_no_teacher_would_start_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"`--dymn .*dymn04.pt`: none of the teachers .* `--set teachers.which=all`"):
        TeacherSettings(which="mn", dymn=tmp_path / "dymn04.pt").check(CLASSES)


def test_settings_name_a_checkpoint_by_its_content_not_by_its_path(tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        (tmp_path / name).write_bytes(b"same")
    (tmp_path / "other.pt").write_bytes(b"other")
    identities = [TeacherSettings(mn=tmp_path / name).identity() for name in ("one.pt", "two.pt", "other.pt")]
    assert identities[0] == identities[1] != identities[2]


def test_teachers_not_clearly_better_than_guessing_are_named_with_the_remedy() -> None:
    """Of 300 clips in three classes alike, guessing recognises 33.3 %, with a standard error of 2.7 points."""
    labels = np.arange(300) % 3
    warning = chance_warning({"mn": 0.30, "dymn": 0.386, "good": 0.40}, labels, "the validation clips")
    assert warning is not None
    assert warning.startswith(
        "Teachers not clearly better than guessing (33.3%) on the validation clips: mn 30.0%, dymn 38.6%. Students"
    )
    assert "more epochs, start from checkpoints (--mn, --dymn), or check the labels" in warning
    assert chance_warning({"good": 0.40}, labels, "the validation clips") is None


def test_a_rare_class_leaves_more_to_chance() -> None:
    """An accuracy is a mean over classes: with six clips of the third, its standard error is 6.7 points."""
    labels = np.repeat([0, 1, 2], [147, 147, 6])
    assert chance_warning({"mn": 0.45}, labels, "the clips")
    assert chance_warning({"mn": 0.48}, labels, "the clips") is None
