"""The signature of a registered strategy: the fields it reads, and what it answers, action by action."""

from __future__ import annotations

from typing import Any

from collectml.pipeline import StrategyModel
from collectml.strategy.eligibility import Expression

__all__ = ["fields_read", "signature_of"]


def fields_read(model: StrategyModel) -> tuple[list[str], list[str]]:
    """Name the account fields a model needs, and those its conditions and limits read beside them.

    Parameters
    ----------
    model : StrategyModel
        The model.

    Returns
    -------
    needed, read : list of str
        A field of the second kind that is not there denies.
    """
    needed = ["account_id", *model.features]
    strategy = model.strategy
    texts = [c.allow for c in strategy.conditions]
    said = (getattr(x, part, None) for x in strategy.limits for part in ("where", "group", "reference"))
    texts += [text for text in said if text is not None]
    texts += [a.mandatory_when for a in strategy.actions if a.mandatory_when]
    read = dict.fromkeys(name for text in texts for name in Expression(text).fields)
    if any(getattr(x, "measure", "") == "balance" for x in strategy.limits):
        read["balance"] = None
    return needed, [f for f in read if f not in needed]


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

    needed, read = fields_read(model)
    inputs = [ColSpec(AnyType(), name) for name in needed] + [ColSpec(AnyType(), name, required=False) for name in read]
    outputs = [
        ColSpec(AnyType(), "account_id"),
        *(ColSpec(DataType.double, action) for action in model.strategy.action_names),
        ColSpec(DataType.string, "priced_action"),
        ColSpec(DataType.string, "prices_as_of"),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
