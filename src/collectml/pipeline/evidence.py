"""Evidence: facts and tables about a trained model, in a form that is saved with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """What training found out about the model.

    Parameters
    ----------
    facts : dict
        Nested JSON-able values: counts, metrics, digests, settings.
    tables : dict of str to DataFrame
        ``support`` (rows by action), ``policy_value`` (value of the policy and of its baselines, by estimator),
        ``calibration`` (of propensity to pay, by decile), ``effects`` (mean effect by action), ``assignment`` (of the
        accounts kept out), ``limits`` (their usage and prices), ``drivers`` (mean absolute contributions by feature),
        ``profile`` (counts by bin of every feature, which a batch holds its accounts against).
    """

    facts: dict[str, object] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Give every number among the facts, flattened, as a tracker wants it.

        Returns
        -------
        dict of str to float
            Keys joined by dots.

        Examples
        --------
        >>> Evidence({"propensity": {"auc": 0.8}, "note": "text"}).metrics()
        {'propensity.auc': 0.8}
        """
        return dict(_numbers(self.facts, ""))


def _numbers(value: object, path: str) -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _numbers(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [(path, float(value))]
    return []
