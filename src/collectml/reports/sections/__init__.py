"""The sections of the committee report, a file each, in the order they are read."""

from __future__ import annotations

from collections.abc import Callable

from collectml.policy import Assignment
from collectml.reports.blocks import Inputs, ModelLike, Section
from collectml.reports.sections import (
    assignment,
    cases,
    drivers,
    evidence,
    fairness,
    method,
    monitoring,
    performance,
    policy_value,
    robustness,
    scope,
    soundness,
    summary,
    why_not,
)

__all__ = ["ORDER"]

Build = Callable[[ModelLike, Assignment, Inputs], Section]

_MODULES = (  # R1 to R14
    *(summary, scope, evidence, soundness, performance, policy_value, drivers),
    *(cases, why_not, assignment, fairness, robustness, monitoring, method),
)
ORDER: tuple[Build, ...] = tuple(module.build for module in _MODULES)
