"""From a booster's margin to a probability one may multiply with money: isotonic or Platt, stored as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from collectml.errors import ConfigurationError

__all__ = ["Calibrator", "calibration_line", "cross_fit_calibration", "resolve_method"]

Method = Literal["isotonic", "platt"]
Floats = NDArray[np.float64]

# Niculescu-Mizil & Caruana: isotonic overfits below about a thousand cases; the rarer class is what counts
_ISOTONIC_FROM = 1_000


class Calibrator:
    """A monotone map from margins (log-odds before calibration) to probabilities strictly between 0 and 1.

    Parameters
    ----------
    method : {"isotonic", "platt"} or None
        Isotonic regression; a logistic line with Platt's smoothed targets; or None, the logistic function itself.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines. Zadrozny and Elkan (2002), Transforming
    classifier scores into accurate multiclass probability estimates.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> margin = rng.normal(size=4000)
    >>> paid = rng.random(4000) < expit(0.5 * margin - 1)
    >>> p = Calibrator("platt").fit(margin, paid).predict(np.array([0.0]))
    >>> bool(abs(p[0] - expit(-1)) < 0.03)
    True
    """

    def __init__(self, method: Method | None) -> None:
        self.method = method

    def fit(self, margin: Floats, y: NDArray[np.generic], weight: Floats | None = None) -> Self:
        """Learn the map from out-of-fold margins and outcomes in [0, 1], both of shape (n,)."""
        target = np.asarray(y, dtype=np.float64)
        w = np.ones(len(target)) if weight is None else np.asarray(weight, dtype=np.float64)
        total = max(float(w.sum()), 1.0)
        # the rule of succession: from n rows nobody learns that something never happens
        self.floor_ = 1.0 / (total + 2.0)
        if self.method == "isotonic":
            fitted = IsotonicRegression(out_of_bounds="clip").fit(margin, target, sample_weight=w)
            self.x_, self.y_ = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
        elif self.method == "platt":
            positive = float((w * target).sum())
            low, high = 1.0 / (total - positive + 2.0), (positive + 1.0) / (positive + 2.0)
            smoothed = low + target * (high - low)
            intercept, slope = calibration_line(margin, smoothed, w)
            if slope < 0.0:  # a map that reversed the ranking would be noise believed
                intercept, slope = float(logit(np.average(smoothed, weights=w))), 0.0
            self.x_, self.y_ = np.array([intercept]), np.array([slope])
        else:
            self.x_, self.y_ = np.zeros(1), np.ones(1)
        return self

    def predict(self, margin: Floats) -> Floats:
        """Map margins (n,) to probabilities (n,)."""
        isotonic = self.method == "isotonic"
        p = np.interp(margin, self.x_, self.y_) if isotonic else expit(self.x_[0] + self.y_[0] * margin)
        return cast("Floats", np.clip(p, self.floor_, 1.0 - self.floor_))

    @classmethod
    def constant(cls, rate: float) -> Self:
        """Return the map that says ``rate`` whatever the margin: what is left where there is too little to learn."""
        calibrator = cls("platt")
        calibrator.floor_ = 0.0
        calibrator.x_, calibrator.y_ = np.array([float(logit(rate))]), np.zeros(1)
        return calibrator

    def to_json(self) -> dict[str, object]:
        """Return the map as values JSON can hold: thresholds x and y, or intercept and slope."""
        return {"method": self.method, "x": self.x_.tolist(), "y": self.y_.tolist(), "floor": self.floor_}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> Self:
        """Rebuild a map from :meth:`to_json`."""
        calibrator = cls(cast("Method | None", state["method"]))
        calibrator.x_ = np.asarray(state["x"], dtype=np.float64)
        calibrator.y_ = np.asarray(state["y"], dtype=np.float64)
        calibrator.floor_ = float(cast("float", state["floor"]))
        return calibrator


def resolve_method(calibration: str | None, y: NDArray[np.generic]) -> Method | None:
    """Turn ``"auto"`` into isotonic where the rarer outcome has 1,000 rows, into Platt where it has fewer."""
    if calibration == "auto":
        events = float(np.asarray(y, dtype=np.float64).sum())
        return "isotonic" if min(events, len(y) - events) >= _ISOTONIC_FROM else "platt"
    if calibration in ("isotonic", "platt"):
        return cast("Method", calibration)
    if calibration is None:
        return None
    raise ConfigurationError(f"calibration must be 'auto', 'isotonic', 'platt' or None, not {calibration!r}.")


def cross_fit_calibration(
    margin: Floats, y: NDArray[np.generic], folds: NDArray[np.int8], method: Method | None, weight: Floats | None = None
) -> tuple[Calibrator, Floats]:
    """Fit a calibrator on all out-of-fold margins, and apply to each fold one that never saw that fold.

    Returns
    -------
    Calibrator
        For new accounts.
    ndarray, shape (n,)
        Honest probabilities of the training rows.
    """
    oof = np.empty(len(margin))
    for fold in np.unique(folds):
        held = folds == fold
        w = None if weight is None else weight[~held]
        oof[held] = Calibrator(method).fit(margin[~held], y[~held], w).predict(margin[held])
    return Calibrator(method).fit(margin, y, weight), oof


def calibration_line(margin: Floats, y: NDArray[np.generic], weight: Floats | None = None) -> tuple[float, float]:
    """Fit log-odds of the outcome = intercept + slope x margin: (0, 1) is perfect, a slope below 1 overfitted.

    Parameters
    ----------
    margin : ndarray, shape (n,)
        Log-odds as predicted.
    y : ndarray, shape (n,)
        Outcomes in [0, 1].
    weight : ndarray, shape (n,), optional

    Returns
    -------
    tuple of float
        Intercept and slope.

    References
    ----------
    Cox (1958), Two further applications of a model for binary regression.

    Examples
    --------
    >>> z = np.linspace(-3, 3, 1001)
    >>> a, b = calibration_line(z, expit(0.5 + 2 * z))
    >>> round(a, 3), round(b, 3)
    (0.5, 2.0)
    """
    target = np.asarray(y, dtype=np.float64)
    w = np.ones(len(target)) if weight is None else weight
    design = np.column_stack([np.ones(len(margin)), margin])
    beta = np.zeros(2)
    ridge = np.diag([1e-9, 1e-9]) * float(w.sum())  # keeps separated or constant margins finite
    for _ in range(50):
        p = expit(design @ beta)
        gradient = design.T @ (w * (target - p)) - ridge @ beta
        hessian = (design * (w * np.maximum(p * (1.0 - p), 1e-12))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
        if float(np.abs(step).max()) < 1e-10:
            break
    return float(beta[0]), float(beta[1])
