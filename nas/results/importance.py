"""How important each choice of a search is for the merit of its architectures."""

import warnings
from collections import Counter

import numpy as np
import optuna
import pandas as pd
from optuna.trial import create_trial

from nas.space.space import Space
from nas.strategy.propose import DIRECTIONS
from nas.study.store import Store

IMPORTANCE_TRIALS = 30
"""The fewest trained architectures that a choice must change for its importance to be more than noise."""


def importances(store: Store) -> dict[str, float]:
    """Name of a choice -> its importance for a high merit, by Optuna's default evaluator; shares that add up to 1."""
    # Optuna ranks for low values, hence the minus, and it warns of that each time.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study = optuna.create_study(directions=DIRECTIONS)
        for each in store.candidates:
            if each.in_space:
                params, distributions = each.trial.params, each.trial.distributions
                values = (each.merit, each.macs)
                study.add_trial(create_trial(values=values, params=params, distributions=distributions))
        return optuna.importance.get_param_importances(study, target=lambda trial: -trial.values[0])


def importance_grid(store: Store, shares: dict[str, float]) -> pd.DataFrame:
    """A table of `shares`, as `well_read` gives them: a row per kind of choice, a column per block, NaN for none.

    Columns are named `block 1` and so on. Choices that a network makes once are left out.
    """
    numbers = range(1, store.settings.max_blocks + 1)
    return pd.DataFrame(
        {f"block {number}": [shares.get(f"{choice}_{number}", np.nan) for choice in _CHOICES] for number in numbers},
        index=list(_CHOICES.values()),
    )


def importance_of_the_rest(store: Store, shares: dict[str, float]) -> str:
    """The importance of the choices that a network makes once, as text such as "number of blocks: 12%, pool: 3%".

    `shares` are as `well_read` gives them; a choice that it leaves out reads 0%.
    """
    once = {"number of blocks": "blocks", **{name: name for name in store.settings.network_wide}}
    return ", ".join(f"{label}: {shares.get(name, 0):.0%}" for label, name in once.items())


_CHOICES = {
    "form": "residual type\nand stride",
    "width": "width",
    "expansion": "expansion",
    "dilation": "dilation",
}


def well_read(store: Store) -> dict[str, float]:
    """`importances` (name of a choice -> share) of those that at least `IMPORTANCE_TRIALS` architectures depend on.

    The others would be noise. So the shares add up to less than 1 where any is left out.
    """
    encodings = [candidate.trial.params for candidate in store.candidates if candidate.in_space]
    readers = Counter(name for choices in encodings for name in Space.read(choices))
    return {name: share for name, share in importances(store).items() if readers[name] >= IMPORTANCE_TRIALS}
