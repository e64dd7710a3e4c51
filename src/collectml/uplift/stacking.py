"""Several models of the same effects, weighted by how well they predict rows none of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .likelihood import Response

__all__ = ["CLEAR", "Stack"]

Floats = NDArray[np.float64]

LEVEL_SD = 0.5
LARGEST = 1.5
SILENT = 1e-9
DOUBT = 0.5  # without it, intervals of effects that only boosters find, and find in part, hold far less than they say
CLEAR = 5.0  # boosters gained as much in one of 60 logs without differences (experiments/bench_evidence.py --whole 60)


@dataclass(frozen=True)
class Stack:
    """A weighted sum of what models say of effects.

    What a model says of an account whatever the action (its mean over actions, by how often each was taken) mends the baseline and
    is no effect, so it has a weight of its own. Effects of further models are let in only where held-out outcomes speak
    clearly for them: what is noise in a difference between actions, a policy takes for an opportunity.

    Attributes
    ----------
    frequency : ndarray, shape (A,)
        Share of the observed rows that took each action.
    levels : ndarray, shape (A,)
        What is added to each action's mean effect; 0 where the first model's effects stay as they are.
    weights : ndarray, shape (K,)
        Of each model's effects beyond the account's and the action's mean, in [0, 1.5], as models that were stopped early or
        shrunk say too little; 1 for the first and 0 for the others where these bring nothing, 0 for a model without differences
        between accounts beside others that have some.
    common : ndarray, shape (K,)
        Of each model's mean over actions, likewise.
    gain : float
        Log-likelihood of held-out rows by all models' effects, less that by the first's alone, levels and means set anew for both.
    """

    frequency: Floats
    levels: Floats
    weights: Floats
    common: Floats
    gain: float

    @classmethod
    def fit(cls, response: Response, models: Sequence[Floats], *, least: float = CLEAR) -> Stack:
        """Find levels and weights.

        Parameters
        ----------
        response : Response
            Outcomes beside the baseline.
        models : sequence of ndarray, shape (n, A)
            What each says of every action's effect on the margin, out of fold; the first is the one to improve on.
        least : float
            Gain from which on the others' effects are let in.

        Returns
        -------
        Stack

        References
        ----------
        Wolpert (1992), Stacked generalization, Neural Networks 5; Breiman (1996), Stacked regressions, Machine Learning 24 (weights
        that are not negative).
        """
        counts = np.array([len(response.of(a)) for a in range(response.n_actions)], dtype=np.float64)
        frequency = counts / max(counts.sum(), 1.0)
        taken = (np.arange(len(response.action)), response.action)
        split = [_split(m, frequency) for m in models]
        own, common = [own[taken] for own, _ in split], [common for _, common in split]
        beside = response.beside(models[0].mean(axis=0)[response.action])
        first, _ = _fit(beside, [own[0], *common], levels=True)
        best, found = _fit(beside, [*own, *common], levels=True)
        n_actions, gain = response.n_actions, best - first
        if gain > least:
            levels, weights, of_common = np.split(found, [n_actions, n_actions + len(models)])
            return cls(frequency, levels, weights, of_common, gain)
        _, found = _fit(beside.beside(own[0]), common, levels=False)
        return cls(frequency, np.zeros(n_actions), np.eye(len(models))[0], found[n_actions:], gain)

    def combine(self, models: Sequence[Floats]) -> Floats:
        """Return the effects that levels and weights make of what the models say.

        Parameters
        ----------
        models : sequence of ndarray, shape (n, A)
            As in :meth:`fit`; what was fitted to all rows may stand in for what was cross-fitted.

        Returns
        -------
        ndarray, shape (n, A)
        """
        out = np.tile(models[0].mean(axis=0) + self.levels, (len(models[0]), 1))
        for model, weight, of_common in zip(models, self.weights, self.common, strict=True):
            own, common = _split(model, self.frequency)
            out += weight * own + of_common * common[:, None]
        return out

    def between(self, models: Sequence[Floats]) -> Floats:
        """Return by how much the models let in differ about each action's effect against the control, as a variance.

        Parameters
        ----------
        models : sequence of ndarray, shape (n, A)
            As in :meth:`combine`.

        Returns
        -------
        ndarray, shape (n, A)
            0 where one model speaks alone. Where others are let in, the first counts half at least: what it says, though it be
            that nothing differs, was credible until they came, and they err together.

        References
        ----------
        Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14 (the variance between models).
        """
        weights = self.weights.copy()
        if weights[1:].any():
            weights[0] = max(weights[0], DOUBT)
        share = weights / max(float(weights.sum()), 1e-12)
        against = [m - m[:, :1] for m in models]  # what is common to all actions cancels
        effects = [e - e.mean(axis=0) for e in against]
        mean = np.sum([w * e for w, e in zip(share, effects, strict=True)], axis=0)
        return cast("Floats", np.sum([w * (e - mean) ** 2 for w, e in zip(share, effects, strict=True)], axis=0))


def _split(model: Floats, frequency: Floats) -> tuple[Floats, Floats]:
    """Take what a model says apart: effects beyond the means, and the account's mean over actions beyond everybody's."""
    common = model @ frequency
    common = common - common.mean()
    return model - model.mean(axis=0) - common[:, None], common


def _fit(response: Response, parts: Sequence[Floats], *, levels: bool) -> tuple[float, Floats]:
    """Maximise the log-likelihood over weights of parts and levels, slightly held to 0 or at it; return it, levels and weights."""
    n_actions, precision = response.n_actions, 1.0 / LEVEL_SD**2

    def loss(at: Floats) -> tuple[float, Floats]:
        level, weights = at[:n_actions], at[n_actions:]
        said = np.sum([w * p for w, p in zip(weights, parts, strict=True)], axis=0)
        total, uphill = response.slope(level[response.action] + said)
        by_level = np.bincount(response.action, weights=uphill, minlength=n_actions) - precision * level
        by_weight = np.array([float(uphill @ p) for p in parts])
        return 0.5 * precision * float(level @ level) - total, -np.concatenate([by_level, by_weight])

    speaks = [bool(np.any(np.abs(p) > SILENT)) for p in parts]  # the weight of what says nothing would stay where it starts
    start = np.concatenate([np.zeros(n_actions), np.where(speaks, 0.5, 0.0)])
    furthest = 2.0 if levels else 0.0
    bounds = [(-furthest, furthest)] * n_actions + [(0.0, LARGEST)] * len(parts)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return -float(found.fun), np.asarray(found.x)
