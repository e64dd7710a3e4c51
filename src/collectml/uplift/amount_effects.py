"""What actions change in how much is paid, regressed beside what boosters say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .amounts import SMALLEST_SHARE
from .basis import EffectBasis
from .decisions import Decisions
from .effects import FittedEffects, cross_fitted_effects
from .likelihood import POISSON, Response
from .rules import Rules, cross_fit_rules
from .stacking import CLEAR, Stack

__all__ = ["with_regressed_effects"]

Floats = NDArray[np.float64]

BARELY = 0.5  # noise reaches it one time in six (half a chi-square); missing an offer costs more than that
LEAST = 2 * CLEAR  # a quasi-likelihood is a likelihood only roughly


def with_regressed_effects(
    d: Decisions,
    share: Floats,
    owed: Floats,
    baseline: Floats,
    numeric: Sequence[int],
    categorical: Sequence[int],
    *,
    rules: Callable[[Response], Sequence[Rules]],
) -> tuple[Floats, FittedEffects | None]:
    """Combine boosters' shares with a regression: of what each action multiplies them by, where that clearly predicts better.

    Boosters find an offer that most take up in full; where several actions each move amounts by a little, differently from
    account to account, a regression whose coefficients are shrunk together sees what boosters take for noise.

    Parameters
    ----------
    d : Decisions
    share : ndarray, shape (n, A)
        Cross-fitted share of what is owed, given payment, as boosters see it.
    owed : ndarray, shape (n,)
        What it is a share of.
    baseline : ndarray, shape (n,)
        Log-odds of payment whatever the action.
    numeric, categorical : sequence of int
        Columns that effects may depend on.
    rules : callable
        Finds the conditions on which outcomes beside a baseline hang, one set for each fold; asked where the regression has a say.

    Returns
    -------
    share : ndarray, shape (n, A)
        Where held-out payments do not speak clearly for the regression, actions differ as boosters say, and only the account's mean
        over actions is mended. Where they do not speak for the boosters either, an action multiplies everybody's amount alike.
    fitted : FittedEffects or None
        The regression, where it has a say in what actions change.

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, chapter 9 (quasi-likelihood).
    """
    usual = np.log(np.maximum(share, SMALLEST_SHARE).mean(axis=1))
    observed = np.where(d.paid, d.y / owed, 0.0)
    weight = np.where(d.paid, np.sqrt(owed), 0.0)
    missed = observed - share[np.arange(len(share)), d.action]
    dispersion = float(np.sum((weight * missed) ** 2) / max(float(weight @ observed), 1e-300))
    if not dispersion > 0:
        return share, None
    response = Response(d.action, observed, usual, d.n_actions, family=POISSON, weight=weight / dispersion)
    scores = [baseline, usual]
    Z = EffectBasis(numeric, categorical).fit(d.X, scores).transform(d.X, scores)
    fitted = cross_fitted_effects(Z, response, d.fold)
    boosted = np.log(np.maximum(share, SMALLEST_SHARE)) - usual[:, None]
    alike = np.broadcast_to(boosted.mean(axis=0), boosted.shape)
    if Stack.fit(response, [alike, boosted]).gain < BARELY:
        boosted = alike
    models = [boosted, fitted.out_of_fold]
    stack = Stack.fit(response, models, least=LEAST)
    # where boosters alone speak, as on the card world, rules were never let in
    if stack.weights[1] > 0.0 and any(found := rules(response)):
        models.append(cross_fit_rules(d.X, Z, response, d.fold, found))
        stack = Stack.fit(response, models, least=LEAST)
    share = np.clip(np.exp(usual[:, None] + stack.combine(models)), SMALLEST_SHARE, observed.max())
    if not stack.weights[1:].any():
        return share, None
    return share, replace(fitted, between=stack.between(models))
