"""The model from code that plain MLflow loads: text and JSON in, values and the priced action out.

It applies the shadow prices of the last assignment row by row. It neither enforces limits nor randomises, and no two accounts
know of each other: only ``collectml score-and-assign`` assigns.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd


class PricedStrategy(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Scores accounts and names the action that is worth most at the stored prices."""

    def load_context(self, context: Any) -> None:
        """Load the saved model."""
        from collectml.pipeline import PriceRule, load
        from collectml.tracking.serving import keep_rows_private

        keep_rows_private()
        self.rule = PriceRule(load(context.artifacts["model"]))

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
        from collectml.errors import CollectMLError
        from collectml.tracking.serving import RequestRefused

        try:
            if len(model_input) == 1:  # a third of the time an account alone takes is frames
                account = {str(k): v for k, v in model_input.to_dict("records")[0].items()}
                return pd.DataFrame([self.rule.apply_one(account)])
            return self.rule.apply(model_input)
        except CollectMLError as error:
            raise RequestRefused(str(error).splitlines()[0]) from None


mlflow.models.set_model(PricedStrategy())
