"""The model from code that plain MLflow loads: text and JSON in, values and the priced action out.

It applies the shadow prices of the last assignment row by row. It neither enforces limits nor randomises, and no two accounts
know of each other: only ``collectml score-and-assign`` assigns.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd


class PricedStrategy(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Scores accounts and names the action that is worth most at the stored prices."""

    def load_context(self, context: Any) -> None:
        """Load the saved model."""
        from collectml.pipeline import load

        self.model = load(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Value every action for every account.

        Parameters
        ----------
        context : PythonModelContext
            MLflow's.
        model_input : DataFrame
            Account snapshot with ``account_id`` and the features.
        params : dict, optional
            Not used.

        Returns
        -------
        DataFrame
            ``account_id``; a column of net value for each action; ``priced_action``: the permitted action worth most after
            usage is charged at the stored shadow prices; ``prices_as_of``: the date of those prices.
        """
        from collectml.strategy import permissions

        model, strategy = self.model, self.model.strategy
        priced = model.price(model_input)
        net = priced.net.to_numpy(dtype=float)
        unsupported = [a for a in strategy.action_names if model.logged.get(a, 0) < strategy.min_logged]
        allowed = permissions(strategy, model_input, unsupported=unsupported).allowed & np.isfinite(net)
        allowed[:, 0] = True
        charged = np.where(allowed, net, -np.inf)
        prices: Any = model.evidence.facts.get("prices", {})
        quantities = {k: f.to_numpy(dtype=float) for k, f in priced.quantities().items()}
        for limit in strategy.limits:
            price = float(prices.get("by_limit", {}).get(limit.name, 0.0))
            if price:
                compiled = limit.compile(actions=strategy.actions, quantities=quantities, accounts=model_input)
                exchange = prices.get("exchange", {}).get(limit.name)
                usage = compiled.usage if compiled.ratio is None else compiled.ratio.usage(exchange)
                charged = charged - price * np.broadcast_to(usage, charged.shape)
        out = priced.net.reset_index(names="account_id")
        out["priced_action"] = np.array(strategy.action_names, dtype=object)[charged.argmax(axis=1)]
        out["prices_as_of"] = str(prices.get("as_of", ""))
        return out


mlflow.models.set_model(PricedStrategy())
