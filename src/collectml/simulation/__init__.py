"""A world to test in: portfolios whose every action has a known effect, logged as real teams log, and playable over months.

No real log tells what an untaken action would have brought; here it is known. Behaviour is calibrated to what trials and
official figures say (each number carries its source and quality), so that a method which cannot win here will hardly win outside. Winning
here proves nothing about a real portfolio.
"""

from __future__ import annotations

from collectml.simulation.calibration import Parameter, calibration_table
from collectml.simulation.portfolio import Portfolio, make_portfolio
from collectml.simulation.rules import rules_assignment

__all__ = ["Parameter", "Portfolio", "calibration_table", "make_portfolio", "rules_assignment"]
