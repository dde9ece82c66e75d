"""A candidate as its trial keeps it."""

from dataclasses import replace

import made_up
import pytest

from budget.limits import Limits
from dynacp.student.architecture import TABLE1
from nas.space.space import Space
from nas.strategy.propose import Proposal, Rules
from nas.study.candidate import Candidate

RULES = Rules(Space(), Limits(), "float16")
OLD = {"accuracy": 0.4, "seed": 7, "loss": 1.9, "seconds": 3.0}
NEW = OLD | {"training_loss": 2.1, "late_loss": 2.0, "cross_entropy": 1.8}


def trained(note: dict[str, float]) -> Candidate:
    return Candidate.trained(0, RULES, Proposal.of(TABLE1, RULES), samples=2_048, training=note)


@pytest.mark.parametrize(("note", "merit"), [(NEW, -2.1), (OLD, 0.4)], ids=["now", "before losses were kept"])
def test_samplers_see_the_training_loss_where_it_was_kept_and_the_accuracy_elsewhere(
    note: dict[str, float], merit: float
) -> None:
    candidate = trained(note)
    candidate.check()
    assert candidate.merit == merit
    assert candidate.as_scored == (TABLE1, merit, 28_938_900, True)
    assert candidate.point == (0.4, 28_938_900)


@pytest.mark.parametrize("missing", ["seed", "loss", "seconds"])
def test_a_training_without_what_every_version_keeps_is_damage(missing: str) -> None:
    with pytest.raises(ValueError, match="without its accuracy, seed, loss, seconds"):
        trained({name: value for name, value in OLD.items() if name != missing}).check()


def test_constraints_are_bytes_and_macs_and_activations_where_these_have_a_limit() -> None:
    """Table 1 holds 659,456 bytes at once."""
    shares = [123_288 / 128_000 - 1, 28_938_900 / 30_000_000 - 1]
    assert constraints(RULES) == shares
    limited = replace(RULES, limits=Limits(max_activation_bytes=600_000))
    assert constraints(limited) == [*shares, 659_456 / 600_000 - 1]
    assert not made_up.scored(0, limited, Proposal.of(TABLE1, limited), 0.5).fits
    assert made_up.scored(0, RULES, Proposal.of(TABLE1, RULES), 0.5).fits


def constraints(rules: Rules) -> list[float]:
    return list(Candidate.waiting(0, rules, Proposal.of(TABLE1, rules)).constraints.values())


def test_a_lower_training_loss_is_a_higher_merit() -> None:
    good, bad = (made_up.scored(0, RULES, Proposal.of(TABLE1, RULES), score) for score in (0.6, 0.3))
    assert good.merit > bad.merit
