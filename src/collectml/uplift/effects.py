"""A regression for effects: each action's deviation from the baseline, shrunk with the others' and towards none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .basis import Interactions
from .likelihood import Response

__all__ = ["EffectRegression", "FittedEffects", "cross_fitted_effects", "curvatures"]

Floats = NDArray[np.float64]

COMMON_SCALES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.16)
STRONG = 3.0  # log evidence that counts as strong (Kass & Raftery 1995): without effects, seven logs in a thousand reach it by chance
SMALLEST = 1e-4
UPDATES = 20
MAIN_SCALES = (0.05, 0.1, 0.2, 0.5)
INTERACTING = 12
PRIOR_FUNCTIONS = 4


@dataclass
class EffectRegression:
    """Penalised regression of an outcome on action-specific functions, beside a given baseline.

    For action a the margin (log-odds of payment, log of an amount) is ``offset(x) + z(x) . w_a`` with
    ``w_aj ~ N(0, (s_j v_a)^2)``. How far function j matters, ``s_j``, is one number for all actions, learnt from all of them: a
    feature that moves no action's effect is shrunk away for each, one that moves some is believed to move the others too, as far
    as the data do not say otherwise. How much action a's effect differs between accounts at all, ``v_a``, is likewise one number
    for all functions: a call's does more than a letter's. The constants, the actions' main effects, have a scale of their own, its
    square averaged over four by their evidence.

    Whether effects differ between accounts at all is asked twice: with one scale for all functions, whose log evidence over none
    must be strong (3), which finds what is spread over many features; and with scales and strengths, whose evidence must outweigh
    their number, which finds what hangs on few. Where neither says so, nothing is claimed, and differences are shrunk to what is
    then to be expected of them: one scale, its square averaged over common scales and none by their evidence. (Averaging what each
    scale makes of the data would shrink a little more.) Without effects that leaves a fraction of an effect's sampling error; with
    effects too weak to be evident it is worth more than none.

    Parameters
    ----------
    n_actions : int
        Number of actions.

    Attributes
    ----------
    scales_ : ndarray, shape (A, P)
        Prior standard deviation of each action's coefficients.
    weights_ : ndarray, shape (A, P)
        Coefficients: the posterior mode.
    covariance_ : ndarray, shape (A, P, P)
        Their posterior covariance (Laplace's approximation).
    evidence_gain_ : float
        Log evidence for effects that differ between accounts, less what it must outweigh.
    each_gain_ : float
        The same of scales and strengths, without the common scale.

    References
    ----------
    MacKay (1992), Bayesian interpolation, Neural Computation 4, and Tipping (2001), Sparse Bayesian learning and the relevance
    vector machine, JMLR 1 (automatic relevance determination; evidence by Laplace's approximation); Hoeting, Madigan, Raftery &
    Volinsky (1999), Bayesian model averaging, Statistical Science 14; Meng & Rubin (1993), Maximum
    likelihood estimation via the ECM algorithm, Biometrika 80 (scales and strengths in turns); Kass & Raftery (1995), Bayes
    factors, JASA 90 (what strong evidence is); Hansen (2008), The prognostic analogue of the propensity score, Biometrika 95
    (the baseline as a covariate).
    """

    n_actions: int

    def fit(
        self,
        Z: Floats,
        response: Response,
        curvature: Floats,
        scales: Floats | None = None,
        held: NDArray[np.bool_] | None = None,
    ) -> EffectRegression:
        """Find scales and posterior mode.

        Parameters
        ----------
        Z : ndarray, shape (n, P)
            Functions of the features, the constant first.
        response : Response
            Outcomes beside the baseline.
        curvature : ndarray, shape (A, P, P)
            From :func:`curvatures`, summed over the folds in use.
        scales : ndarray, shape (A, P), optional
            Scales found on other rows, to be used as they are.
        held : ndarray of bool, shape (n,), optional
            Rows kept out.

        Returns
        -------
        EffectRegression
        """
        P = Z.shape[1]
        used = [response.of(a) for a in range(self.n_actions)]
        used = used if held is None else [i[~held[i]] for i in used]
        parts = [(Z[i], response.rows(i)) for i in used]
        if scales is not None:
            self.scales_ = scales
            self.weights_, _, _ = self._mode(parts, curvature, scales, np.zeros((self.n_actions, P)), steps=12)
            return self._with_covariance(curvature)
        homogeneous, of_main = np.zeros((self.n_actions, P)), np.empty(len(MAIN_SCALES))
        for k, scale in enumerate(MAIN_SCALES):
            homogeneous, _, of_main[k] = self._mode(
                parts, curvature, _prior(self.n_actions, scale, np.zeros(P)), homogeneous, steps=6
            )
        main = _likely_scale(of_main - of_main.max(), MAIN_SCALES)
        homogeneous, _, least = self._mode(parts, curvature, _prior(self.n_actions, main, np.zeros(P)), homogeneous, steps=3)
        spread, modes = np.empty(len(COMMON_SCALES)), [homogeneous]
        alike = [_prior(self.n_actions, main, np.full(P, scale)) for scale in COMMON_SCALES]
        for k, scales in enumerate(alike):
            found, _, evidence = self._mode(parts, curvature, scales, modes[-1], steps=2)
            modes.append(found)
            spread[k] = evidence - least
        best = int(np.argmax(spread))
        weights, scales = modes[1 + best], alike[best]
        strength = np.ones(self.n_actions)
        for _ in range(UPDATES):
            weights, variance, evidence = self._mode(parts, curvature, scales, weights, steps=1)
            by_function, strength = _suggested(weights**2 + variance, strength)
            scales = _prior(self.n_actions, main, by_function, strength)
        weights, _, evidence = self._mode(parts, curvature, scales, weights, steps=3)
        matter = int((by_function[1:] > 10 * SMALLEST).sum())
        self.each_gain_ = evidence - (matter + self.n_actions - 1 if matter else 0) - least
        self.evidence_gain_ = max(float(spread[best]) - STRONG, self.each_gain_)
        if self.evidence_gain_ <= 0:
            scales = _prior(self.n_actions, main, np.full(P, _likely_scale(spread, COMMON_SCALES, nothing=len(spread))))
            weights, _, _ = self._mode(parts, curvature, scales, homogeneous, steps=6)
        self.scales_, self.weights_ = scales, weights
        return self._with_covariance(curvature)

    def _with_covariance(self, curvature: Floats) -> EffectRegression:
        self.covariance_ = np.linalg.inv(curvature + np.eye(len(curvature[0])) / self.scales_[:, None, :] ** 2)
        return self

    def _mode(
        self, parts: list[tuple[Floats, Response]], curvature: Floats, scales: Floats, weights: Floats, *, steps: int
    ) -> tuple[Floats, Floats, float]:
        """Posterior mode from a start, the posterior variances, and the log evidence.

        Effects are small beside the baseline, so its curvature serves every step; steps are halved where they overshoot.
        """
        weights, variance, evidence = weights.copy(), np.empty_like(weights), 0.0
        for a, (Z, response) in enumerate(parts):
            precision = 1.0 / scales[a] ** 2
            covariance = np.linalg.inv(curvature[a] + np.diag(precision))
            variance[a] = np.diag(covariance)
            loss, downhill = _loss(weights[a], Z, response, precision)
            for _ in range(steps):
                step, scale = covariance @ downhill, 1.0
                while scale > 1e-3:
                    new_loss, new_downhill = _loss(weights[a] + scale * step, Z, response, precision)
                    if new_loss <= loss:
                        weights[a] = weights[a] + scale * step
                        loss, downhill = new_loss, new_downhill
                        break
                    scale /= 2.0
            evidence += -loss + 0.5 * float(np.log(precision).sum()) + 0.5 * float(np.linalg.slogdet(covariance)[1])
        return weights, variance, evidence

    def effects(self, Z: Floats) -> Floats:
        """Give the deviation of every action from the baseline, on the margin.

        Parameters
        ----------
        Z : ndarray, shape (n, P)
            Functions of the features.

        Returns
        -------
        ndarray, shape (n, A)
        """
        return np.asarray(Z @ self.weights_.T, dtype=np.float64)

    def variances(self, Z: Floats) -> Floats:
        """Give the posterior variance of every action's deviation, in the margin's unit squared.

        Parameters
        ----------
        Z : ndarray, shape (n, P)
            Functions of the features.

        Returns
        -------
        ndarray, shape (n, A)
        """
        return np.stack([np.einsum("np,np->n", Z @ c, Z) for c in self.covariance_], axis=1)


def _prior(n_actions: int, main: float, by_function: Floats, strength: Floats | float = 1.0) -> Floats:
    """Give the prior standard deviation of each action's coefficients, shape (A, P); that of the constants is ``main``."""
    scales = np.maximum(np.outer(np.broadcast_to(strength, n_actions), by_function), SMALLEST)
    scales[:, 0] = main
    return scales


def _likely_scale(evidence: Floats, scales: Sequence[float], *, nothing: float = 0.0) -> float:
    """Give the root of the squared scale to expect, from the log evidence of each scale; ``nothing`` is the weight of 0."""
    likelihood = np.exp(evidence)
    return float(np.sqrt(likelihood @ np.square(scales) / (nothing + likelihood.sum())))


def _suggested(square: Floats, strength: Floats) -> tuple[Floats, Floats]:
    """Give the scales of functions and the strengths of actions that the posterior itself would suggest (a step of ECM).

    Strengths are held to 1 as by PRIOR_FUNCTIONS functions that matter alike for all actions.
    """
    by_function = np.sqrt(np.clip(np.mean(square / strength[:, None] ** 2, axis=0), SMALLEST**2, 1.0))
    used = np.flatnonzero(by_function[1:] > 10 * SMALLEST) + 1
    relative = np.sum(square[:, used] / by_function[used] ** 2, axis=1)
    strength = np.sqrt((relative + PRIOR_FUNCTIONS) / (len(used) + PRIOR_FUNCTIONS))
    return by_function, strength / np.sqrt(np.mean(strength**2))


def _loss(weights: Floats, Z: Floats, response: Response, precision: Floats) -> tuple[float, Floats]:
    """Penalised negative log-likelihood of one action's rows, and the direction downhill."""
    total, uphill = response.slope(Z @ weights)
    return 0.5 * float(weights @ (precision * weights)) - total, np.asarray(Z.T @ uphill - precision * weights)


def curvatures(Z: Floats, response: Response, fold: NDArray[np.int8]) -> Floats:
    """Curvature of the log-likelihood at the baseline, by fold and action.

    Parameters
    ----------
    Z, response
        As in :meth:`EffectRegression.fit`.
    fold : ndarray of int, shape (n,)
        Folds numbered from 0.

    Returns
    -------
    ndarray, shape (folds, A, P, P)
        Sums over the rows of a fold; folds add up.
    """
    root = np.sqrt(response.curvature())
    out = np.zeros((int(fold.max()) + 1, response.n_actions, Z.shape[1], Z.shape[1]))
    for a in range(response.n_actions):
        rows = response.of(a)
        for k in range(len(out)):
            i = rows[fold[rows] == k]
            scaled = Z[i] * root[i, None]
            out[k, a] = scaled.T @ scaled
    return out


@dataclass(frozen=True)
class FittedEffects:
    """What all actions deviate from the baseline by, and how sure that is.

    Attributes
    ----------
    effects : ndarray, shape (n, A)
        Deviations from the baseline on the margin, fitted to all rows.
    out_of_fold : ndarray, shape (n, A)
        Each row's by a fit without its fold, under the scales found on all.
    evidence_gain : float
        Log evidence for effects that differ between accounts, less what it must outweigh; positive speaks for them.
    own : EffectRegression
        The actions' own deviations.
    functions : ndarray, shape (n, P)
        What they were regressed on.
    between : ndarray, shape (n, A)
        By how much models that were combined differ about each action's effect against the control, as a variance; 0 for one alone.
    """

    effects: Floats
    out_of_fold: Floats
    evidence_gain: float
    own: EffectRegression
    functions: Floats
    between: Floats


def cross_fitted_effects(Z: Floats, response: Response, fold: NDArray[np.int8]) -> FittedEffects:
    """Find what all actions' outcomes deviate from the baseline by, and what each deviates by beyond that.

    What is common to all actions mends the baseline and is no effect, so it is fitted first, and kept where its evidence
    outweighs the number of scales (a booster has had its chance at the baseline); heterogeneity of effects is judged by what
    is left. Where there is evidence of it, products of the functions it rests on most are tried as well, and
    kept where the evidence outweighs the number of their scales and they predict held-out rows better.

    Parameters
    ----------
    Z, response
        As in :meth:`EffectRegression.fit`.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.

    Returns
    -------
    FittedEffects
    """
    mended, mended_oof = _cross_fit(Z, response.whatever_the_action(), fold)
    common = mended.effects(Z)
    if mended.each_gain_ <= 0:
        common, mended_oof = np.zeros_like(common), np.zeros_like(mended_oof)
    beside = response.beside(common[:, 0])
    own, own_oof = _cross_fit(Z, beside, fold)
    gain, functions = own.evidence_gain_, Z
    if gain > 0:
        strongest = np.argsort(-own.scales_.mean(axis=0)[1:], kind="stable")[:INTERACTING] + 1
        wider = Interactions([int(j) for j in np.sort(strongest)]).fit_transform(Z)
        richer, richer_oof = _cross_fit(wider, beside, fold)
        better = beside.log_likelihood(richer_oof) > beside.log_likelihood(own_oof)
        if richer.each_gain_ > 0 and better:
            own, own_oof, functions = richer, richer_oof, wider
    else:  # what folds differ by is no difference between accounts
        mean = own_oof.mean(axis=0)
        for k in np.unique(fold):
            own_oof[fold == k] += mean - own_oof[fold == k].mean(axis=0)
    alone = np.broadcast_to(0.0, own_oof.shape)
    return FittedEffects(common + own.effects(functions), mended_oof + own_oof, gain, own, functions, alone)


def _cross_fit(Z: Floats, response: Response, fold: NDArray[np.int8]) -> tuple[EffectRegression, Floats]:
    """Fit to all rows, and to all rows but each fold's under the same scales; return the first and what the others say."""
    by_fold = curvatures(Z, response, fold)
    total = by_fold.sum(axis=0)
    regression = EffectRegression(response.n_actions).fit(Z, response, total)
    out_of_fold = np.empty((len(Z), response.n_actions))
    for k in range(len(by_fold)):
        held = fold == k
        other = EffectRegression(response.n_actions).fit(Z, response, total - by_fold[k], regression.scales_, held)
        out_of_fold[held] = other.effects(Z[held])
    return regression, out_of_fold
