"""From an architecture to seven trained models: the paper's two-stage distillation, as stages that build on others.

    general teachers -> their ensemble -> base student ----------------------+
        |                                                                    |
        +-> each device's teachers -> the device's ensemble -> device student

General teachers are fine-tuned on all training clips, and each again on each device's clips. The base student is
distilled from scratch from the general ensemble, each device student from the base student and its device's ensemble.
Every training takes its last state: no clip is held out, and the test split is read by the evaluation alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from budget.ledger import totals
from budget.witness import by_torch
from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.dataset import BASE, FINE_TUNED, GENERAL, MIN_CLIPS, Dataset
from dynacp.audio.views import Joined, ViewedSource
from dynacp.efficientat import Teacher
from dynacp.pipeline.plan import Plan
from dynacp.settings import SettingError
from dynacp.stages import FORMAT, OnStep, Stage, StageStore, derived_seed
from dynacp.student.architecture import Architecture, with_classes
from dynacp.student.layers import layers_of
from dynacp.student.model import DynaCP
from dynacp.teachers.ensemble import left_out, mean_logits
from dynacp.teachers.fine_tuning import TeacherData, load_teacher, teacher_stage
from dynacp.teachers.members import Member
from dynacp.teachers.views import Viewing, mean_logits_of_views
from dynacp.training.examples import Augmented, Examples, Viewed
from dynacp.training.loop import TRAINING_WORK, one_hot, refuse_divergence, state_on_cpu, train
from dynacp.training.schedule import Recipe


class Pipeline:
    """The stages of a plan, and the models that finished ones hold.

    `plan`, its `settings`, the `dataset` and the `store` of stages are attributes. A `device` is a recording device's
    name, or `GENERAL` for all clips. Stages are kept: asked for again, the same one is given. Methods and properties
    raise `DataError` for data that cannot be used; methods that take a device raise `SettingError` for one that no
    training clip is of.
    """

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.plan, self.settings, self.store = plan, settings, StageStore()
        self.dataset = Dataset(
            plan.data,
            plan.cache,
            settings.front_end,
            torch.device(plan.device),
            plan.responses,
            settings.recording,
            plan.unlabelled,
        )
        self._stages: dict[str, Stage] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """The teachers of each ensemble."""
        return self.settings.teachers.members

    @cached_property
    def classes(self) -> int:
        """The number of classes of the data."""
        return len(self.dataset.training.classes)

    def check(self) -> None:
        """Raise `SettingError`, `CheckpointError` or `DataError` for what is bound to fail; no clip is decoded."""
        front_end, wanted = self.settings.front_end, self.plan.architecture.input
        given = (front_end.mels, front_end.frames(front_end.sample_rate))
        if wanted != given:
            raise SettingError(
                f"the architecture takes {wanted[0]} x {wanted[1]} inputs, but the front end gives {given[0]} x "
                f'{given[1]}: give an architecture with "input": [{given[0]}, {given[1]}], or change `front_end` with '
                "--set."
            )
        if self.plan.unlabelled and not self.settings.distillation.views:
            raise SettingError(
                "audio without labels is heard as views that teachers speak of: add `--set distillation.views=32`, or "
                "leave out `--unlabelled`."
            )
        self.settings.teachers.check(self.classes)
        self.dataset.check()

    @cached_property
    def architecture(self) -> Architecture:
        """The plan's architecture, for as many classes as the data has."""
        return with_classes(self.plan.architecture, self.classes)

    def _once(self, stage: Stage) -> Stage:
        return self._stages.setdefault(stage.name, stage)

    def teacher(self, device: str, member: Member) -> Stage:
        """The stage of a teacher: fine-tuned on all clips (`GENERAL`), or from that one on a device's clips."""
        settings, dataset, general = self.settings, self.dataset, device == GENERAL
        rows = dataset.rows(device)
        seen = self._taught(rows, member)
        clips = int(seen.sum())
        recipe = settings.teachers.recipe(member, clips)
        start: object = self._origins[member.family.name]
        needs: tuple[Stage, ...] = ()
        if not general:
            recipe = settings.device_teachers.recipe(clips, recipe.augmentation)
            start, needs = "the general teacher", (self.teacher(GENERAL, member),)
        waves = replace(settings.waves, roll_samples=settings.waves.roll_samples if member.roll else 0)
        data = TeacherData(
            classes=self.classes,
            seen=seen,
            labels=lambda: dataset.training.labels[rows[seen]],
            training=lambda: dataset.augmented(rows[seen], waves),
            predicted=lambda: dataset.training_features(rows),
            made_with=self._common,
            augmented_by={"waves": asdict(waves)},
        )

        def build() -> Teacher:
            return self.load_teacher(needs[0]) if needs else settings.teachers.build(member.family, self.classes)

        return self._once(
            teacher_stage(
                f"teachers/{device}/{member.name}",
                self.plan.teachers / device,
                member,
                data,
                start=start,
                build=build,
                recipe=recipe,
                seed=settings.teachers_seed,
                macs=self.teacher_macs[member.family.name],
                needs=needs,
                warns=general,  # its device teachers start from it
            )
        )

    def student(self, device: str) -> Stage:
        """The stage of a student: the base (`GENERAL`) from scratch, or a device's from the base.

        It learns from the soft labels of its ensemble.
        """
        settings, clips, base = self.settings, self._heard(device), device == GENERAL
        schedule = settings.base if base else settings.devices
        recipe = schedule.recipe(clips, self._augmentation(device))
        lessons = self.lessons(device)
        needs = lessons if base else (*lessons, self.student(GENERAL))
        name = f"students/{BASE if base else device}"
        seed = derived_seed(settings.seed, name)

        def make(on_step: OnStep) -> dict[str, Any]:
            torch.manual_seed(seed)
            network = DynaCP(self.architecture) if base else self.load_student(GENERAL)
            last = self._distil(network, device, recipe, seed, on_step)
            refuse_divergence(name, last, recipe)
            return {
                "architecture": self.architecture.to_json(),
                "classes": list(self.dataset.training.classes),
                "front_end": asdict(settings.front_end),
                "state": state_on_cpu(network),
                "loss": last,
            }

        return self._once(
            Stage(
                name=name,
                path=self.plan.run / name,
                settings={
                    **self._common,
                    "architecture": self.architecture.to_json(),
                    "recipe": asdict(recipe),
                    "waves": asdict(settings.waves),
                    "distillation": asdict(settings.distillation),
                    "seed": seed,
                },
                needs=needs,
                make=make,
                steps=recipe.steps,
                work=TRAINING_WORK * recipe.samples * self.student_macs,
            )
        )

    def fine_tuned(self, device: str) -> Stage:
        """The stage of a finished student that is trained further with int8 rounding in its forward pass.

        Its weights are still floats.
        """
        settings, clips = self.settings, self._heard(device)
        recipe = settings.fine_tuning.recipe(clips, settings.device_augmentation)
        student = self.student(device)
        name = f"{student.name}{FINE_TUNED}"
        seed = derived_seed(settings.seed, name)

        def make(on_step: OnStep) -> dict[str, Any]:
            from dynacp.student.int8 import aware  # its imports take five seconds

            network = self.load_student(device)
            rounding = aware(network)
            last = self._distil(rounding, device, recipe, seed, on_step)
            refuse_divergence(name, last, recipe)
            network.load_state_dict({key: rounding.state_dict()[key] for key in network.state_dict()})
            return {**self.store.load(student), "state": state_on_cpu(network), "loss": last}

        made_with = {**student.settings, "recipe": asdict(recipe), "seed": seed}
        work = TRAINING_WORK * recipe.samples * self.student_macs
        return self._once(
            Stage(
                name=name,
                path=self.plan.run / name,
                settings=made_with,
                needs=(student, *self.lessons(device)),
                make=make,
                steps=recipe.steps,
                work=work,
            )
        )

    def _distil(self, network: nn.Module, device: str, recipe: Recipe, seed: int, on_step: OnStep) -> float:
        """Train a student in place on a device's clips; returns the last loss."""
        examples, loss = self.examples(device, recipe.augmentation), self.settings.distillation.loss
        return train(network, examples, loss, recipe, seed=seed, after_step=on_step)[-1]

    def examples(self, device: str, augmentation: Augmentation) -> Examples:
        """What a device's student is trained on, with this augmentation where it hears no views.

        Raises `StageError` for a stage of its teachers that is not finished.
        """
        settings, rows, lessons = self.settings, self.dataset.rows(device), self.lessons(device)
        labels = one_hot(self.dataset.labels(device), self.classes)
        if settings.distillation.views:
            heard = self._heard(device)
            soft = settings.distillation.soft_labels(mean_logits_of_views(lessons, self.store))
            labels = functional.pad(labels, (0, 0, 0, heard - len(rows)))  # zeros: no label has a part in the loss
            return Viewed(self._viewing(device).views(), torch.arange(heard), soft, labels)
        soft = settings.distillation.soft_labels(self.mean_logits(lessons))
        return Augmented(self.dataset.augmented(rows, settings.waves), (soft, labels), augmentation)

    def _heard(self, device: str) -> int:
        """The number of clips that a device's student hears; the base hears those without labels too."""
        return len(self.dataset.rows(device)) + (self.dataset.unlabelled if device == GENERAL else 0)

    def lessons(self, device: str) -> tuple[Stage, ...]:
        """The stages that a device's student learns from: its teachers, or what those that hear clips say of views."""
        if self.settings.distillation.views:
            hearing = np.flatnonzero(self._viewing(device).heard.any(axis=1))
            return tuple(self.views(device, self.members[index]) for index in hearing)
        return tuple(self.teacher(device, member) for member in self.members)

    def views(self, device: str, member: Member) -> Stage:
        """The stage of what a teacher says of views of a device's clips (`GENERAL`: of all)."""
        teacher, settings = self.teacher(device, member), self.settings
        made_with = {**self._common, "waves": asdict(settings.waves)}
        if device == GENERAL:
            made_with["unlabelled"] = self.dataset.unlabelled_key
        load = partial(self.load_teacher, teacher)
        return self._once(self._viewing(device).stage(teacher, self.members.index(member), made_with, load))

    @property
    def view_bytes(self) -> int:
        """What is stored of what all teachers of the run say of views."""
        return sum(self._viewing(device).bytes(self.classes) for device in (GENERAL, *self.dataset.devices))

    def _viewing(self, device: str) -> Viewing:
        settings, rows, dataset = self.settings, self.dataset.rows(device), self.dataset
        unlabelled = self._heard(device) - len(rows)

        def source() -> ViewedSource:
            labelled = dataset.augmented(rows, settings.waves)
            return Joined(labelled, dataset.augmented_unlabelled(settings.waves)) if unlabelled else labelled

        seen = np.stack([self._taught(rows, member) for member in self.members])
        return Viewing(
            source=source,
            number=settings.distillation.views,
            augmentation=self._augmentation(device),
            seed=derived_seed(settings.teachers_seed, f"views/{device}"),
            seen=np.pad(seen, ((0, 0), (0, unlabelled))),
            apart=np.zeros((0, len(rows) + unlabelled), dtype=bool),
        )

    def _augmentation(self, device: str) -> Augmentation:
        """What is done to the log-mels that students of a device hear."""
        return self.settings.augmentation if device == GENERAL else self.settings.device_augmentation

    def load_teacher(self, stage: Stage) -> Teacher:
        """The network that a teacher's finished stage holds, made anew; `StageError` for one that is not finished."""
        return load_teacher(stage, self.store, self.classes)

    def load_student(self, device: str) -> DynaCP:
        """A finished student, read anew: a device's, or the base (`GENERAL`), in float32 and training mode on the CPU.

        Raises `StageError` for one that is not finished.
        """
        network = DynaCP(self.architecture)
        network.load_state_dict(self.store.load(self.student(device))["state"])
        return network

    def mean_logits(self, teachers: Sequence[Stage]) -> Tensor:
        """What an ensemble says of its device's training clips, as `dynacp.teachers.ensemble.mean_logits` gives it.

        `teachers` are the stages of its teachers, one at least. Raises `StageError` for one that is not finished.
        """
        return mean_logits([self.store.load(stage) for stage in teachers])

    def _taught(self, rows: np.ndarray, member: Member) -> np.ndarray:
        """Whether a teacher is fine-tuned on each of these training clips: bool [rows].

        On all, or where teachers are cross-fitted on all but its own part of whole groups, if enough are left.
        """
        seen = ~self._left_out[self.members.index(member)][rows]
        return seen if seen.sum() >= MIN_CLIPS else np.ones(len(rows), dtype=bool)

    @cached_property
    def _left_out(self) -> np.ndarray:
        if self.settings.teachers.cross_fitted:
            return left_out(self.dataset.training, len(self.members))
        return np.zeros((len(self.members), len(self.dataset.training)), dtype=bool)

    @cached_property
    def _common(self) -> dict[str, Any]:
        """The settings that every training depends on."""
        return {"format": FORMAT, "data": self.dataset.key, "front_end": asdict(self.settings.front_end)}

    @cached_property
    def _origins(self) -> dict[str, object]:
        """What the general teachers start from, by family; checkpoints are named by their content."""
        return self.settings.teachers.identity()

    @cached_property
    def teacher_macs(self) -> dict[str, int]:
        """Name of a family -> its teacher's MACs for one clip; the work of stages is estimated from it."""
        build, shape = self.settings.teachers.build, (1, 1, *self.architecture.input)
        families = self.settings.teachers.families
        return {family.name: by_torch(build(family, self.classes).eval(), shape) for family in families}

    @cached_property
    def student_macs(self) -> int:
        """A student's MACs for one clip."""
        return int(totals(layers_of(self.architecture)).macs)
