"""A model of merits that knows that they are noisy, and the features that it learns from."""

from dataclasses import replace

import numpy as np
import pytest

from dynacp.student.architecture import BASELINE, TABLE1, Architecture, Block
from nas.space.features import features
from nas.space.space import Space
from nas.strategy.surrogate import Surrogate


def networks(number: int, seed: int = 0) -> list[Architecture]:
    return Space().networks(number, np.random.default_rng(seed))


def merits(architectures: list[Architecture]) -> np.ndarray:
    """Made up: depth and a wide end are good, up to a point; from -2 to -1 or so."""
    return np.array([-2 + np.tanh(len(each.blocks) / 6) + np.log(each.blocks[-1].out) / 20 for each in architectures])


def trained(number: int, noise: float) -> Surrogate:
    known = networks(number)
    return Surrogate(features(known), merits(known) + np.random.default_rng(1).normal(0, noise, number))


def test_features_are_finite_numbers_for_any_network_and_differ_where_networks_do() -> None:
    others = [
        replace(TABLE1, pool="maximum"), replace(TABLE1, norm="depthwise"), replace(TABLE1, activation="relu"),
        replace(TABLE1, stem=(16, 32)), replace(TABLE1, blocks=TABLE1.blocks[:5]), BASELINE,
    ]  # fmt: skip
    table = features([TABLE1, *others, *networks(50)])
    assert np.isfinite(table).all()
    assert len(np.unique(table, axis=0)) == len(table)


def test_unseen_architectures_are_predicted_and_the_deviation_says_how_well() -> None:
    model, unseen = trained(120, 0.02), networks(200, seed=5)
    mean, deviation = model.predict(features(unseen))
    apart = mean - merits(unseen)
    assert apart.std() < 0.3 * merits(unseen).std()
    assert 0.3 < np.mean((apart / deviation) ** 2) < 2


def test_the_noise_is_found() -> None:
    assert trained(120, 0.06).noise == pytest.approx(0.06, rel=0.35)
    assert trained(120, 0.001).noise < 0.03


def test_what_is_expected_lies_nearer_to_the_truth_than_what_was_observed() -> None:
    known = networks(120)
    seen = merits(known) + np.random.default_rng(1).normal(0, 0.06, 120)
    mean = Surrogate(features(known), seen).means(features(known))
    lucky = np.argsort(seen - merits(known))[-10:]
    assert np.std(mean - merits(known)) < 0.7 * np.std(seen - merits(known))
    assert (mean[lucky] < seen[lucky]).all()


def test_draws_scatter_as_the_deviation_says_around_the_mean() -> None:
    model, unseen, rng = trained(40, 0.05), features(networks(10, seed=5)), np.random.default_rng(0)
    drawn = model.draw(unseen, 2_000, rng)
    mean, deviation = model.predict(unseen)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * deviation.max() / 2_000**0.5)
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=0.15)


def test_merits_that_are_all_alike_and_a_single_architecture_are_no_fault() -> None:
    known = features(networks(12))
    mean = Surrogate(known, [-1.5] * 12).means(known)
    np.testing.assert_allclose(mean, -1.5)


def test_of_very_many_architectures_the_model_knows_a_thousand() -> None:
    known = networks(3_000)
    noisy = merits(known) + np.random.default_rng(1).normal(0, 0.06, len(known))
    described = features(known)
    model = Surrogate(described, noisy)
    apart = model.means(described) - merits(known)
    assert apart.std() < 0.3 * merits(known).std()
    assert np.abs(apart).mean() < 0.03  # half of the noise of one training
    np.testing.assert_allclose(model.means(described[:600]), model.predict(described[:600]).mean, rtol=1e-9)


def test_what_lies_far_from_all_that_is_known_is_not_near_however_sure_the_linear_part_is() -> None:
    model, (one, *_) = trained(120, 0.02), networks(3)
    deep, wide = replace(one, blocks=one.blocks[:1] * 40), replace(one, blocks=(*one.blocks[:-1], Block(3_000, 2_000)))
    assert model.near(features(networks(120))).mean() > 0.9
    assert model.near(features(networks(200, seed=5))).mean() > 0.8
    assert not model.near(features([deep, wide])).any()


def test_a_feature_that_all_known_networks_share_is_not_blown_up_for_one_without_it() -> None:
    known = [replace(each, stem=(8, 32)) for each in networks(60) if each.stem[1] == 32]
    model = Surrogate(features(known), merits(known))
    other = features([replace(known[0], stem=(12, 32))])
    assert abs(model.means(other) - merits(known[:1])) < 0.5
