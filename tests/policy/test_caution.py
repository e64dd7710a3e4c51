"""Caution: the optimiser's curse is there, shrinking takes it away, and promises are kept on held-out truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError, SchemaError
from collectml.policy import TreatmentPolicy, cautious, price_actions, shrink_effects
from collectml.strategy import Caution, Strategy

NAMES = ["no_action", "sms", "call", "letter"]
CONTENT = {
    "name": "caution",
    "currency": "EUR",
    "actions": [{"name": "no_action"}, *({"name": a, "channel": a} for a in NAMES[1:])],
    "limits": [{"name": "calls", "kind": "capacity", "actions": ["call"], "upper": 300, "per": "1000_accounts"}],
}
PLAIN = Strategy.model_validate(CONTENT)


def with_caution(**caution):
    return Strategy.model_validate(CONTENT | {"objective": {"caution": caution}})


def world(seed, n=2000):
    """True effects, estimates with errors of known size, unequal between accounts."""
    rng = np.random.default_rng(seed)
    index = pd.RangeIndex(n, name="account_id")
    mean, spread = np.array([1.0, 3.0, 1.5]), np.array([1.0, 3.0, 2.0])
    truth = mean + spread * rng.normal(size=(n, 3))
    errors = spread * rng.lognormal(0, 0.8, (n, 1))
    estimate = truth + errors * rng.normal(size=(n, 3))
    frame = {k: pd.DataFrame(v, index, NAMES[1:]) for k, v in (("t", truth), ("e", estimate), ("s", errors))}
    recovered = frame["e"].assign(no_action=0.0)[NAMES] + 20
    return recovered, frame["s"], frame["t"].assign(no_action=0.0)[NAMES] + 20, pd.DataFrame({"account_id": index})


def promised_and_real(spec, recovered, errors, truth, accounts):
    """Gain over the control per account: as promised by the values acted on, and in truth."""
    priced = price_actions(spec, recovered, standard_errors=errors)
    planned = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-01-01").planned()
    at, rows = pd.Index(NAMES).get_indexer(pd.Index(planned)), np.arange(len(planned))
    return priced.net.to_numpy()[rows, at].mean() - 20, truth.to_numpy()[rows, at].mean() - 20


@pytest.fixture(scope="module")
def results():
    rows = []
    for seed in range(6):
        parts = world(seed)
        rows.append(
            {
                (name, what): value
                for name, spec in (
                    ("plain", PLAIN),
                    ("shrink", with_caution(method="shrink")),
                    ("lower", with_caution(method="lower_bound", errors=0.5)),
                )
                for what, value in zip(("promised", "real"), promised_and_real(spec, *parts), strict=True)
            }
        )
    return pd.DataFrame(rows)


def test_the_best_of_many_promises_more_than_it_brings(results):
    assert (results["plain", "promised"] > 1.5 * results["plain", "real"]).all()


def test_shrunk_promises_are_kept(results):
    ratio = results["shrink", "promised"] / results["shrink", "real"]
    error = ratio.std() / np.sqrt(len(ratio))
    assert abs(ratio.mean() - 1) < 4 * error + 0.005
    assert ((ratio - 1).abs() < 0.06).all()


def test_shrinking_brings_some_money_where_errors_differ_between_accounts_and_lower_bounds_none(results):
    more = results["shrink", "real"] - results["plain", "real"]
    assert more.mean() > 2 * more.std() / np.sqrt(len(more))
    assert (results["lower", "real"] < results["shrink", "real"]).all()


def test_shrinking_finds_the_spread_and_equals_the_posterior():
    rng = np.random.default_rng(1)
    s = rng.lognormal(0, 0.5, 200_000)
    truth = 2.0 + 1.5 * rng.normal(size=len(s))
    e = truth + s * rng.normal(size=len(s))
    got = shrink_effects(pd.DataFrame({"a": e}), pd.DataFrame({"a": s}))["a"].to_numpy()
    posterior = 2.0 + 1.5**2 / (1.5**2 + s**2) * (e - 2.0)
    assert np.abs(got - posterior).mean() < 0.02


def test_pure_noise_shrinks_to_the_mean_and_certainty_stays():
    rng = np.random.default_rng(2)
    errors = pd.DataFrame({"a": np.full(500, 1.0)})
    noise = pd.DataFrame({"a": rng.normal(size=500) * 0.9})
    assert np.ptp(shrink_effects(noise, errors)["a"]) < 1e-9
    certain = pd.DataFrame({"a": rng.normal(size=500)})
    np.testing.assert_allclose(shrink_effects(certain, errors * 0), certain)


def test_errors_are_needed_and_matched_by_name():
    recovered, errors, _, _ = world(0, n=50)
    with pytest.raises(ConfigurationError, match="asks for caution"):
        price_actions(with_caution(method="shrink"), recovered)
    caution = Caution(method="lower_bound")
    with pytest.raises(SchemaError, match="actions call"):
        cautious(recovered, errors.drop(columns="call"), caution, control="no_action")
    with pytest.raises(SchemaError, match="10 accounts"):
        cautious(recovered, errors.iloc[10:], caution, control="no_action")
    with pytest.raises(SchemaError, match="negative"):
        cautious(recovered, -errors, caution, control="no_action")
    turned = cautious(recovered, errors.iloc[::-1, ::-1], caution, control="no_action")
    pd.testing.assert_frame_equal(turned, cautious(recovered, errors, caution, control="no_action"))
    np.testing.assert_array_equal(turned["no_action"], recovered["no_action"])


def test_values_given_as_they_are_stay_as_they_are():
    recovered, _, _, accounts = world(0, n=200)
    spec = with_caution(method="shrink")
    one = TreatmentPolicy(spec).assign(recovered, accounts, as_of="2026-01-01").frame()
    pd.testing.assert_frame_equal(one, TreatmentPolicy(PLAIN).assign(recovered, accounts, as_of="2026-01-01").frame())
