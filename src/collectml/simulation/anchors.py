"""Solving for the constants that make the world hit its calibration targets.

The calibration states what can be measured (a cure rate, an intention-to-treat effect in percentage points, a share of harmed
accounts); behaviour runs on log-odds. The constants between the two are solved once on a fixed reference population, so they do
not depend on the portfolio drawn, and a changed target is hit as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.simulation.behaviour import (
    ACTIONS,
    MOST_TAKE_UP,
    PROFILES,
    Book,
    base_index,
    drive,
    payer_mix,
    respond,
    uptake,
)
from collectml.simulation.population import STAGE_EDGES, draw_accounts

__all__ = ["solve_scales"]

Floats = NDArray[np.float64]
_REFERENCE_SIZE = 40_000
_REFERENCE_SEED = 20_240_229


def _bisect(f: Callable[[float], float], target: float, low: float, high: float, name: str) -> float:
    """Find where an increasing function hits its target, and say so where it cannot."""
    for _ in range(45):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if f(mid) < target else (low, mid)
    # everything solved for is continuous, so what is still missed after 45 halvings lies beyond the bracket
    reached = f(0.5 * (low + high))
    if abs(reached - target) > 1e-4:
        warnings.warn(
            f"calibration target {name} = {target:g} is out of reach beside the other targets: the world has {reached:.4f}",
            stacklevel=2,
        )
    return 0.5 * (low + high)


def solve_scales(c: Mapping[str, float], world: str) -> dict[str, Floats]:
    """Solve the constants of a world.

    Parameters
    ----------
    c : mapping of str to float
        The calibration.
    world : str

    Returns
    -------
    dict of str to ndarray
        ``base`` (by stage), ``reach``, and for each action its scale by stage, its ``/zero`` and its ``/uptake`` by stage.

    Warns
    -----
    UserWarning
        For a target that no strength of response can reach, with the value that comes nearest.
    """
    return _solve(tuple(sorted(c.items())), world)


@lru_cache(maxsize=16)
def _solve(items: tuple[tuple[str, float], ...], world: str) -> dict[str, Floats]:
    c = dict(items)
    ids = np.arange(_REFERENCE_SIZE, dtype=np.int64)
    accounts, latent = draw_accounts(ids, ids, world=world, c=c, seed=_REFERENCE_SEED, as_of=pd.Timestamp("2024-01-01"))
    book = Book.of(accounts, latent, world)
    stages = len(STAGE_EDGES[world]) + 1
    early, middle = (1, (2,)) if stages == 5 else (0, (1,))
    late = range(middle[0] + 1, stages)

    # among the charged-off, "cure" means paying at all
    curing = 1.0 - payer_mix(book, c, world)[0][:, 0] if world != "charged_off" else np.ones(_REFERENCE_SIZE)
    index = base_index(book)
    base = np.zeros(stages)
    for s in range(stages):
        here = book.stage == s

        def cure(x: float, here: NDArray[np.bool_] = here) -> float:
            return float((expit(index[here] + x) * curing[here]).mean())

        base[s] = _bisect(cure, c[f"cure_stage_{s}"], -12.0, 12.0, f"cure_stage_{s}")
    scales: dict[str, Floats] = {"base": base, "reach": np.zeros(1)}

    def reach(x: float) -> float:
        scales["reach"] = np.array([x])
        return float(respond("soft_call", book, c, "no_effect", scales).dials[:, 0].mean())

    scales["reach"] = np.array([_bisect(reach, c["reach_dial"], -6.0, 4.0, "reach_dial")])
    for action in ACTIONS[world][1:]:
        profile = PROFILES[action]
        push = drive(action, book)
        scales[f"{action}/zero"] = np.array([np.quantile(push, c["negative_share"]) if profile.tone == "firm" else 0.0])
        if profile.offer:
            key = "plan_uptake" if profile.offer == "plan" else "settlement_uptake"
            keys = [f"{key}_early" if s <= early else key if s in middle else f"{key}_late" for s in range(stages)]
            ready = uptake(profile.offer, book)
            scales[f"{action}/uptake"] = np.array(
                [_uptake_scale(ready[book.stage == s], c[name], name) for s, name in enumerate(keys)]
            )
        # an offer that is not taken up still reminds: like the call or letter it rides on
        like = {"plan": "soft_call", "settlement": "letter"}.get(profile.offer, action)
        at = {}
        for when, group, name in (
            ("early", book.stage == early, f"{like}_itt"),
            ("late", np.isin(book.stage, late), f"{like}_itt_late"),
        ):
            part = book.take(group & book.usable[profile.channel])
            at[when] = _bisect(_effect(action, part, c, world, scales), c[name], 0.0, 40.0, name)
        by_stage = np.full(stages, at["early"])
        by_stage[list(middle)] = 0.5 * (at["early"] + at["late"])
        by_stage[list(late)] = at["late"]
        scales[action] = by_stage * (0.6 if profile.offer else 1.0)
    return scales


def _uptake_scale(ready: Floats, target: float, name: str) -> float:
    """Scale readiness so that the mean uptake, capped as it is, hits its target."""
    return _bisect(lambda x: float(np.minimum(x * ready, MOST_TAKE_UP).mean()), target, 0.0, 40.0, name)


def _effect(
    action: str, part: Book, c: Mapping[str, float], world: str, scales: dict[str, Floats]
) -> Callable[[float], float]:
    """Mean effect on the delivered as a function of the action's scale."""
    stages = len(scales["base"])

    def effect(x: float) -> float:
        scales[action] = np.full(stages, x)
        r = respond(action, part, c, "charged_off" if world == "charged_off" else "card", scales)
        return float((r.reached * r.talks * (r.pays_moved - r.pays)).mean())

    return effect
