"""The solver against HiGHS' integer programme, and its promises: feasible to the unit, certified, deterministic."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import coo_array, csr_array, vstack

from collectml.errors import InfeasibleStrategyError
from collectml.policy import solve_assignment


def dense(usage, n, n_actions):
    """Usage in any accepted form as an (n, A, K) array, the plain way."""
    if isinstance(usage, np.ndarray):
        return np.broadcast_to(usage, (n, *usage.shape)) if usage.ndim == 2 else usage
    columns = []
    for column in usage:
        if isinstance(column, tuple):
            table, codes = column
            columns.append(table[codes])
        else:
            columns.append(np.broadcast_to(column, (n, n_actions)))
    return np.stack(columns, axis=2) if columns else np.zeros((n, n_actions, 0))


def oracle(values, usage, upper, lower, eligible, customer, contact):
    """The integer optimum by HiGHS, or None where there is none."""
    n, A = values.shape
    cube = dense(usage, n, A)
    rows = np.repeat(np.arange(n), A)
    constraints = [LinearConstraint(csr_array(coo_array((np.ones(n * A), (rows, np.arange(n * A))))), 1, 1)]
    if cube.shape[2]:
        matrix = csr_array(cube.reshape(n * A, -1).T)
        constraints.append(LinearConstraint(matrix, lower, upper))
    if customer is not None:
        groups = [
            csr_array(((customer == c)[:, None] & contact[None, :]).astype(float).reshape(1, -1))
            for c in np.unique(customer)
        ]
        constraints.append(LinearConstraint(vstack(groups), -np.inf, 1))
    bounds_up = eligible.astype(float).ravel()
    from scipy.optimize import Bounds

    found = milp(
        -values.ravel(),
        constraints=constraints,
        integrality=np.ones(n * A),
        bounds=Bounds(0, bounds_up),
        options={"mip_rel_gap": 0},
    )
    return -found.fun if found.status == 0 else None


def instance(seed):
    """A small random instance: ties, negative values, tight and loose limits, minimums, segments, customers."""
    rng = np.random.default_rng(seed)
    n, A, K = int(rng.integers(1, 13)), int(rng.integers(2, 5)), int(rng.integers(0, 4))
    values = rng.integers(-4, 8, (n, A)).astype(float) if seed % 3 == 0 else rng.normal(2, 4, (n, A))
    kinds = rng.integers(0, 4, K)
    segments = rng.integers(0, 2, n)
    usage, upper, lower = [], np.empty(K), np.full(K, -np.inf)
    for k, kind in enumerate(kinds):
        if kind == 0:
            column = rng.integers(0, 3, A).astype(float)
            total = n * column.max()
        elif kind == 1:
            column = rng.uniform(0, 2, (n, A))
            total = column.max(axis=1).sum()
        elif kind == 2:
            column = (rng.integers(0, 3, (2, A)).astype(float), segments)
            total = 2.0 * n
        else:
            column = np.zeros(A)
            total = 1.0
        usage.append(column)
        upper[k] = np.inf if rng.random() < 0.1 else rng.uniform(0.1, 1.1) * total
        if rng.random() < 0.25:
            lower[k] = rng.uniform(0, 0.6) * total
    eligible = rng.random((n, A)) < 0.8
    eligible[np.arange(n), rng.integers(0, A, n)] = True
    customer, contact = None, None
    if seed % 4 == 1:
        customer, contact = rng.integers(0, max(1, n // 2) + 1, n), np.arange(A) > 0
        eligible[:, 0] = True
    return values, usage, upper, lower, eligible, customer, contact


def check(solution, values, usage, upper, lower, eligible, customer, contact):
    n, A = values.shape
    at = np.arange(n), solution.action
    assert eligible[at].all()
    used = dense(usage, n, A)[at].sum(axis=0) if n else np.zeros(len(upper))
    np.testing.assert_allclose(used, solution.usage, rtol=1e-9, atol=1e-9)
    assert (used <= upper + 1e-9 * np.maximum(1, np.abs(np.where(np.isfinite(upper), upper, 1)))).all()
    assert (used >= lower - 1e-9 * np.maximum(1, np.abs(np.where(np.isfinite(lower), lower, 1)))).all()
    assert solution.value == pytest.approx(values[at].sum(), rel=1e-9, abs=1e-9)
    assert solution.upper_bound >= solution.value - 1e-9 * max(1, abs(solution.value))
    if customer is not None:
        contacted = customer[contact[solution.action]]
        assert len(contacted) == len(set(contacted.tolist()))


@pytest.mark.parametrize("block", range(5))
def test_equals_the_integer_programme_on_random_small_instances(block):
    """100 instances in five blocks: the same optimum, or the same verdict that there is none."""
    infeasible = 0
    for seed in range(20 * block, 20 * block + 20):
        values, usage, upper, lower, eligible, customer, contact = instance(seed)
        best = oracle(values, usage, upper, lower, eligible, customer, contact)
        arguments = {
            "usage": usage,
            "upper": upper,
            "lower": lower,
            "eligible": eligible,
            "customer": customer,
            "contact": contact,
        }
        if best is None:
            infeasible += 1
            with pytest.raises(InfeasibleStrategyError):
                solve_assignment(values, **arguments)
            continue
        solution = solve_assignment(values, **arguments)
        check(solution, values, usage, upper, lower, eligible, customer, contact)
        assert solution.value == pytest.approx(best, rel=1e-7, abs=1e-7), seed
        assert solution.upper_bound >= best - 1e-7 * max(1, abs(best))
        assert solution.status == "optimal"
    assert infeasible < 15


def realistic(n, seed=0):
    rng = np.random.default_rng(seed)
    A = 9
    values = rng.lognormal(4, 1, (n, 1)) * rng.normal(0.1, 0.1, (n, A))
    values[:, 0] = 0
    minutes = np.zeros((n, A))
    minutes[:, 4:6] = rng.uniform(2, 9, (n, 2))
    cost = rng.uniform(0.01, 2, (n, A)) * (np.arange(A) > 0)
    usage = [minutes, cost, np.eye(A)[3], np.eye(A)[6], np.eye(A)[7], np.eye(A)[5]]
    upper = n * np.array([1.0, 0.5, 0.1, 0.02, 0.03, 0.08])
    return values, usage, upper, rng.integers(0, 2**63, n)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_at_scale_the_gap_is_certified_and_no_limit_is_passed(dtype):
    values, usage, upper, tie = realistic(50_000)
    solution = solve_assignment(values.astype(dtype), usage=usage, upper=upper, tie_key=tie)
    assert solution.gap <= 1e-6
    assert solution.status == "optimal"
    cube_free = [np.broadcast_to(c, values.shape)[np.arange(len(values)), solution.action].sum() for c in usage]
    assert (np.array(cube_free) <= upper * (1 + 1e-9)).all()
    assert (solution.shadow_prices >= 0).all()
    # the bound is the dual's value at the prices, computed from scratch
    charged = values.astype(dtype).astype(np.float64)
    for column, price in zip(usage, solution.shadow_prices, strict=True):
        charged = charged - price * column
    assert solution.upper_bound == pytest.approx(charged.max(axis=1).sum() + solution.shadow_prices @ upper, rel=1e-9)


def test_same_bytes_twice_and_row_order_does_not_matter():
    values, usage, upper, tie = realistic(6_000, seed=1)
    values = np.round(values)  # many ties
    first = solve_assignment(values, usage=usage, upper=upper, tie_key=tie, gap=1e-4)
    again = solve_assignment(values, usage=usage, upper=upper, tie_key=tie, gap=1e-4)
    np.testing.assert_array_equal(first.action, again.action)
    order = np.random.default_rng(0).permutation(len(values))
    permuted = solve_assignment(
        values[order], usage=[c if c.ndim == 1 else c[order] for c in usage], upper=upper, tie_key=tie[order], gap=1e-4
    )
    np.testing.assert_array_equal(permuted.action, first.action[order])


def test_ties_go_to_the_smaller_key():
    values = np.array([[0.0, 1.0]] * 5)
    solution = solve_assignment(
        values, usage=[np.array([0.0, 1.0])], upper=np.array([2.0]), tie_key=np.array([5, 1, 4, 2, 3])
    )
    assert solution.action.tolist() == [0, 1, 0, 1, 0]


def test_without_limits_each_row_takes_its_best():
    values = np.random.default_rng(0).normal(size=(100, 4))
    solution = solve_assignment(values, usage=[], upper=np.zeros(0))
    np.testing.assert_array_equal(solution.action, values.argmax(axis=1))
    assert solution.gap == 0


def test_a_price_is_what_one_more_unit_brings():
    values, usage, upper, tie = realistic(5_000, seed=2)
    base = solve_assignment(values, usage=usage, upper=upper, tie_key=tie)
    more = upper.copy()
    more[0] *= 1.02
    richer = solve_assignment(values, usage=usage, upper=more, tie_key=tie)
    assert (richer.value - base.value) / (more[0] - upper[0]) == pytest.approx(base.shadow_prices[0], rel=0.15)


def test_conflicting_limits_are_named():
    values = np.zeros((10, 3))
    usage = [np.array([0.0, 1, 0]), np.array([0.0, 1, 0]), np.array([0.0, 0, 1])]
    with pytest.raises(InfeasibleStrategyError) as error:
        solve_assignment(
            values,
            usage=usage,
            upper=np.array([3.0, np.inf, 4]),
            lower=np.array([-np.inf, 6, -np.inf]),
            names=["few", "many", "other"],
        )
    assert set(error.value.limits) == {"few", "many"}
    with pytest.raises(InfeasibleStrategyError):
        solve_assignment(values, usage=usage[:1], upper=np.array([1.0]), lower=np.array([2.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.array([[np.nan, 1.0]])}, "values"),
        ({"values": np.zeros((0, 2))}, "values"),
        ({"upper": np.array([np.nan])}, "upper"),
        ({"upper": np.array([1.0, 2.0])}, "upper"),
        ({"usage": [np.zeros(3)]}, "usage"),
        ({"eligible": np.zeros((1, 2), dtype=bool)}, "eligible"),
        ({"tie_key": np.array([1, 2, 3])}, "tie_key"),
        ({"customer": np.array([0])}, "contact"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"values": np.zeros((1, 2)), "usage": [np.zeros(2)], "upper": np.array([1.0])} | change
    with pytest.raises(ValueError, match=message):
        solve_assignment(arguments.pop("values"), **arguments)


def equals_the_integer_programme(seed):
    values, usage, upper, lower, eligible, customer, contact = instance(seed)
    best = oracle(values, usage, upper, lower, eligible, customer, contact)
    try:
        solution = solve_assignment(
            values, usage=usage, upper=upper, lower=lower, eligible=eligible, customer=customer, contact=contact
        )
    except InfeasibleStrategyError:
        assert best is None, seed
        return
    check(solution, values, usage, upper, lower, eligible, customer, contact)
    assert best is not None, seed
    assert solution.value == pytest.approx(best, rel=1e-7, abs=1e-7), seed
    assert solution.status == "optimal"


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(1000, 2**32))
def test_whatever_the_instance_the_answer_equals_the_integer_programme(seed):
    equals_the_integer_programme(seed)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_two_thousand_instances_equal_the_integer_programme(seed):
    equals_the_integer_programme(seed)


def test_an_infeasible_set_says_by_how_much_each_limit_must_give():
    values = np.zeros((10, 3))
    arguments = {
        "usage": [np.array([0.0, 1, 0]), np.array([0.0, 1.5, 0]), np.array([0.0, 0, 1])],
        "upper": np.array([3.0, np.inf, 4]),
        "lower": np.array([-np.inf, 9, -np.inf]),
        "names": ["few", "many", "other"],
    }
    with pytest.raises(InfeasibleStrategyError, match=r"few by 3 or many by 4\.5") as error:
        solve_assignment(values, **arguments)
    assert error.value.gives == pytest.approx({"few": 3, "many": 4.5})
    for k, name in enumerate(["few", "many"]):  # exactly that much is enough, a little less is not
        for share in (1.0, 0.95):
            loose = {key: np.array(x, copy=True) for key, x in arguments.items() if key in ("upper", "lower")}
            loose["lower" if k else "upper"][k] += (-1 if k else 1) * share * error.value.gives[name]
            if share == 1.0:
                assert solve_assignment(values, **(arguments | loose)).status == "optimal"
            else:
                with pytest.raises(InfeasibleStrategyError):
                    solve_assignment(values, **(arguments | loose))


def test_one_limit_out_of_reach_says_by_how_much():
    with pytest.raises(InfeasibleStrategyError, match="must give by 5") as error:
        solve_assignment(np.zeros((10, 2)), usage=[np.array([0.0, 1])], upper=[np.inf], lower=[15.0], names=["calls"])
    assert error.value.gives == {"calls": 5.0}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_and_vectorised_loops_assign_the_same(dtype, monkeypatch):
    """Usage of a row's own, by segment and shared, eligibility, customers: the choice of loops changes no account."""
    rng = np.random.default_rng(3)
    values, usage, upper, tie = realistic(12_000, seed=3)
    usage = [*usage, (rng.uniform(0, 1, (4, 9)), rng.integers(0, 4, 12_000))]
    eligible = rng.random(values.shape) < 0.8
    eligible[:, 0] = True
    arguments = {
        "usage": [c.astype(dtype) if isinstance(c, np.ndarray) else c for c in usage],
        "upper": np.append(upper, 2_500.0),
        "eligible": eligible,
        "customer": rng.integers(0, 10_000, 12_000),
        "contact": np.arange(9) > 2,
        "tie_key": tie,
        "gap": 1e-5,  # the integer optimum of so small a portfolio may lie further below the bound than the usual target
    }
    plain = solve_assignment(values.astype(dtype), **arguments)
    monkeypatch.setattr("collectml.policy._compiled.FROM", 1_000)
    compiled = solve_assignment(values.astype(dtype), **arguments)
    assert plain.status == compiled.status == "optimal"
    np.testing.assert_array_equal(plain.action, compiled.action)
    np.testing.assert_allclose(plain.shadow_prices, compiled.shadow_prices, rtol=1e-9, atol=1e-12)
    assert plain.value == compiled.value
    assert (plain.usage == compiled.usage).all()


def test_a_warm_start_changes_neither_certificate_nor_limits():
    values, usage, upper, tie = realistic(20_000, seed=4)
    cold = solve_assignment(values, usage=usage, upper=upper, tie_key=tie)
    for start in (cold.shadow_prices, 3 * cold.shadow_prices, np.zeros(6), np.full(6, -5.0)):
        warm = solve_assignment(values, usage=usage, upper=upper, tie_key=tie, warm_start=start)
        assert warm.status == "optimal"
        assert warm.gap <= 1e-6
        assert (warm.usage <= upper * (1 + 1e-9)).all()
        assert warm.value == pytest.approx(cold.value, rel=2e-6)
        assert warm.upper_bound >= cold.value
    with pytest.raises(ValueError, match="warm_start"):
        solve_assignment(values, usage=usage, upper=upper, warm_start=[1.0])


def single_budget(n, arms):
    rng = np.random.default_rng(20)
    for rows, columns in ((30, 3), (200, 4)):
        reward, cost = np.round(rng.normal(1, 2, (rows, columns)), 3), np.round(rng.uniform(0.1, 3, (rows, columns)), 3)
        if (rows, columns) == (n, arms):
            return reward, cost
    raise AssertionError(n)


@pytest.mark.parametrize(
    ("n", "arms", "budget", "gain"),
    [
        (30, 3, 0.05, 13.360766355140186),
        (30, 3, 0.2, 31.092807631160575),
        (30, 3, 0.6, 55.076614318706696),
        (30, 3, 1.0, 65.54057710280374),
        (200, 4, 0.05, 121.34914772727272),
        (200, 4, 0.2, 255.5436486238532),
        (200, 4, 0.6, 439.22022482837536),
        (200, 4, 1.0, 542.2226322869956),
    ],
)
def test_agrees_with_maq_on_a_single_budget(n, arms, budget, gain):
    """Gains of maq 0.2.2 (`MAQ(budget, n_bootstrap=0).predict`), which splits one unit: ours is whole and less by a unit at most."""
    reward, cost = single_budget(n, arms)
    values, spend = np.column_stack([np.zeros(n), reward]), np.column_stack([np.zeros(n), cost])
    solution = solve_assignment(values, usage=[spend], upper=[budget * n])
    assert solution.value <= gain + 1e-9
    assert solution.value >= gain - reward.max()
    assert solution.upper_bound == pytest.approx(gain, rel=0.005)
    assert solution.upper_bound >= solution.value


def test_maqs_own_example():
    """Alice, Bob and Eve with 5 a head to spend (maq's reference): arms A, B, B."""
    values = np.array([[0.0, 30, 10], [0, 40, 50], [0, 10, 55]])
    solution = solve_assignment(values, usage=[np.array([0.0, 3, 6])], upper=[15.0])
    assert solution.action.tolist() == [1, 2, 2]


def test_the_clock_takes_no_part_in_the_answer(monkeypatch):
    """A search ends by its work: with a clock that runs four times as fast it finds the same assignment and the same bound."""
    rng = np.random.default_rng(5)
    n, actions, limits = 200, 6, 5
    values = rng.lognormal(3, 1, (n, actions)) * rng.normal(0.3, 1, (n, actions))
    values[:, 0] = 0.0
    usage = [np.where(rng.random(actions) < 0.6, rng.uniform(0.5, 20.0, (n, actions)).round(2), 0.0) for _ in range(limits)]
    for used in usage:
        used[:, 0] = 0.0
    upper = [0.5 * used[np.arange(n), values.argmax(axis=1)].sum() for used in usage]
    problem = {"usage": usage, "upper": upper, "time_limit": 40.0}
    slow = solve_assignment(values, **problem)
    assert slow.status == "gap_not_reached"  # hard enough for the work to be what ends it
    monotonic = time.monotonic
    monkeypatch.setattr("collectml.policy._search.time.monotonic", lambda: 4.0 * monotonic())
    fast = solve_assignment(values, **problem)
    assert (slow.action == fast.action).all()
    assert (slow.value, slow.upper_bound, slow.shadow_prices.tolist()) == (
        fast.value,
        fast.upper_bound,
        fast.shadow_prices.tolist(),
    )
