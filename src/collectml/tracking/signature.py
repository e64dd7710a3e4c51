"""The signature of a registered strategy: the fields it reads, and what it answers, action by action."""

from __future__ import annotations

from typing import Any

from collectml.pipeline import PriceRule, StrategyModel

__all__ = ["signature_of"]


def signature_of(model: StrategyModel) -> Any:
    """Describe what a model reads and answers, for MLflow.

    Parameters
    ----------
    model : StrategyModel
        The model.

    Returns
    -------
    mlflow.models.ModelSignature
        Inputs by name and of any type: a whole number, a float and a missing value are alike to the model, and MLflow's own
        types would refuse one or the other. Outputs: ``account_id``, a column of money for each action, ``priced_action``,
        ``prices_as_of``.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

    rule = PriceRule(model)
    inputs = [ColSpec(AnyType(), name) for name in rule.needed]
    inputs += [ColSpec(AnyType(), name, required=False) for name in rule.read]
    outputs = [
        ColSpec(AnyType(), "account_id"),
        *(ColSpec(DataType.double, action) for action in model.strategy.action_names),
        ColSpec(DataType.string, "priced_action"),
        ColSpec(DataType.string, "prices_as_of"),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
