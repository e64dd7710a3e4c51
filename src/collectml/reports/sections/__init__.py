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

ORDER: tuple[Build, ...] = (  # R1 to R14
    summary.build,
    lambda model, given, _: scope.build(model, given),
    evidence.build,
    soundness.build,
    lambda model, given, _: performance.build(model, given),
    lambda model, given, _: policy_value.build(model, given),
    lambda model, given, _: drivers.build(model, given),
    cases.build,
    why_not.build,
    assignment.build,
    fairness.build,
    robustness.build,
    monitoring.build,
    lambda model, given, _: method.build(model, given),
)
