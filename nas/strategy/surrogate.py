"""A Gaussian process that predicts the merit of architectures from `nas.space.features`, and allows for its noise.

The merit is what candidates are ranked by, more being better (`nas.study.candidate.Candidate.merit`).
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property, wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from nas.space.features import FloatArray

LEAST = 10
"""The fewest trained architectures for a model."""

NEIGHBOURS = 0.95
"""The share of the known architectures whose distance to their next neighbour counts as near."""

_FITTED, _KNOWN = 300, 1_000
"""The most architectures that the model's parameters are fitted to, and that it knows: time grows as the cube."""

_NOISE = (0.02, 1.0)
"""Bounds of the noise's share in the variance of the merits. Merits of two seeds agree to 0.94 (studies/score)."""


_AT_ONCE = 500
"""Architectures whose means are predicted together: their kernel stays in the processor's cache."""

_ROUNDING = 1e-6
"""Added to variances, so that rounding leaves them positive where networks are nearly alike; and the deviation up to
which features and merits count as all the same."""

_SHARES = (1e-3, 10.0)
"""Bounds of what the smooth and the linear part explain, as shares of the variance of the merits."""

_LENGTHS = (3.0, 100.0)
"""Bounds of the length scale. Two random networks lie about 7 apart: at a scale far below that every architecture
would be a world of its own, and noise be taken for what distinguishes it."""


T = TypeVar("T")


def _on_one_core(function: Callable[..., T]) -> Callable[..., T]:
    """Let numpy and scipy use one thread while this function runs: several take up to three times as long for matrices
    of this size, and round differently on machines with more cores, which would propose other architectures.
    """

    @wraps(function)
    def alone(*args: Any, **named: Any) -> T:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **named)

    return alone


@cache
def _libraries() -> ThreadpoolController:
    import sklearn.gaussian_process  # noqa: F401  (takes a second, and all commands import this; loads the libraries)

    return ThreadpoolController()


class Prediction(NamedTuple):
    """Mean and standard deviation of the merit an architecture would have without training noise.

    Both are [networks], in the unit of the merits.
    """

    mean: FloatArray
    deviation: FloatArray


class Surrogate:
    """A Gaussian process, fitted on construction to `features` [networks, features] and `merits` [networks].

    Of more than a thousand architectures it takes a thousand by chance, always the same.
    """

    # One length scale serves all features, each scaled to its spread: with a scale of its own for each, some sixty
    # architectures were predicted no better and the intervals were far too narrow.

    @_on_one_core
    def __init__(self, features: FloatArray, merits: Sequence[float] | FloatArray) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

        self._centre, self._scale = features.mean(axis=0), _spread(features)
        self._mean, self._deviation = float(np.mean(merits)), float(_spread(np.asarray(merits)))
        scaled, known = self._scaled(features), (np.asarray(merits) - self._mean) / self._deviation
        order = np.random.default_rng(0).permutation(len(known)) if len(known) > _FITTED else np.arange(len(known))
        fitted, kept = np.sort(order[:_FITTED]), np.sort(order[:_KNOWN])
        smooth = ConstantKernel(1.0, _SHARES) * Matern(6.0, _LENGTHS, nu=2.5)
        linear = ConstantKernel(0.1, _SHARES) * DotProduct(1.0, "fixed")
        self._model = GaussianProcessRegressor(smooth + linear + WhiteKernel(0.1, _NOISE))
        self._model.fit(scaled[fitted], known[fitted])
        if len(kept) > len(fitted):
            self._model = GaussianProcessRegressor(self._model.kernel_, optimizer=None)
            self._model.fit(scaled[kept], known[kept])

    def _scaled(self, features: FloatArray) -> FloatArray:
        return (features - self._centre) / self._scale

    @property
    def noise(self) -> float:
        """The standard deviation of the merit between trainings of one architecture, in the unit of the merits."""
        return float(np.sqrt(self._noise_level) * self._deviation)

    @property
    def _noise_level(self) -> float:
        return float(self._model.kernel_.get_params()["k2__noise_level"])

    @_on_one_core
    def means(self, features: FloatArray) -> FloatArray:
        """The means of `predict` alone, [networks]: of thousands, deviations take far longer."""
        parts = [features[start : start + _AT_ONCE] for start in range(0, len(features), _AT_ONCE)]
        mean = np.concatenate([self._model.predict(self._scaled(part)) for part in parts])
        return self._mean + self._deviation * mean

    @_on_one_core
    def predict(self, features: FloatArray) -> Prediction:
        """Predict the noiseless merits of architectures with these features [networks, features]."""
        mean, deviation = self._model.predict(self._scaled(features), return_std=True)
        noiseless = np.sqrt(np.maximum(deviation**2 - self._noise_level, 0.0))
        return Prediction(self._mean + self._deviation * mean, self._deviation * noiseless)

    def near(self, features: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether the model knows anything near architectures with these features: [networks].

        Something is near that is no farther than `NEIGHBOURS` of the known architectures are from the next known one.
        The deviation does not tell: far outside it grows with what the linear part says as well.
        """
        from scipy.spatial.distance import cdist

        return cdist(self._scaled(features), self._model.X_train_).min(axis=1) <= self._reach

    @cached_property
    def _reach(self) -> float:
        from scipy.spatial.distance import cdist

        apart = cdist(self._model.X_train_, self._model.X_train_)
        np.fill_diagonal(apart, np.inf)
        return float(np.quantile(apart.min(axis=1), NEIGHBOURS))

    @_on_one_core
    def draw(self, features: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
        """Joint samples of the noiseless merits of networks with these [networks, features], as [number, networks]."""
        mean, covariance = self._model.predict(self._scaled(features), return_cov=True)
        covariance[np.diag_indices_from(covariance)] += _ROUNDING - self._noise_level
        drawn = mean + rng.standard_normal((number, len(mean))) @ np.linalg.cholesky(covariance).T
        return self._mean + self._deviation * drawn


def _spread(values: FloatArray) -> FloatArray:
    """The standard deviation of each column, 1 where all values are the same."""
    deviation = values.std(axis=0)
    return np.where(deviation > _ROUNDING, deviation, 1.0)
