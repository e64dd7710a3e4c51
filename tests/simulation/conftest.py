"""The portfolios the tests of this room share: each is drawn once, and no test changes it."""

from __future__ import annotations

import pytest

from collectml.simulation import Portfolio, make_portfolio

SIZE = 40_000


@pytest.fixture(scope="package")
def card() -> Portfolio:
    return make_portfolio(SIZE, random_state=11)


@pytest.fixture(scope="package")
def charged_off() -> Portfolio:
    return make_portfolio(SIZE, world="charged_off", random_state=11)


@pytest.fixture(scope="package")
def confounded() -> Portfolio:
    return make_portfolio(2 * SIZE, logging="confounded", random_state=12)


@pytest.fixture(params=["card", "charged_off"])
def portfolio(request: pytest.FixtureRequest) -> Portfolio:
    """Both worlds, one after the other."""
    return request.getfixturevalue(request.param)
