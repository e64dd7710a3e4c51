"""The price rule: accounts seen one by one, each given the permitted action worth most at the stored prices.

It enforces no limit and draws nothing, and no two accounts know of each other: what a batch assigned last made the prices, and
these say what an account's action takes from the others. Only a batch assigns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import scoring_table
from collectml.data.schema import inspect_table
from collectml.data.screening import evidently_sound
from collectml.errors import SchemaError
from collectml.models import ChannelResponseModel, ComplaintModel
from collectml.policy.value import price_arrays
from collectml.strategy import permissions
from collectml.strategy.eligibility import Expression, OneAccount

from .strategy_model import StrategyModel

__all__ = ["PriceRule"]

Floats = NDArray[np.float64]


class PriceRule:
    """Values of every action, and the action they and the stored prices speak for.

    Parameters
    ----------
    model : StrategyModel
        A trained strategy; its facts hold the prices.

    Attributes
    ----------
    needed : list of str
        Fields that must be there: the account's id and the features.
    read : list of str
        Further fields that conditions and limits read; one that is not there denies.
    """

    def __init__(self, model: StrategyModel) -> None:
        self.model = model
        strategy = model.strategy
        self.needed, self.read = ["account_id", *model.features], _further_fields(model)
        self._contract = scoring_table(model.features, list(model.uplift.encoder_.levels_))
        self._unsupported = [a for a in strategy.action_names if model.logged.get(a, 0) < strategy.min_logged]
        prices = cast("Mapping[str, Any]", model.evidence.facts.get("prices", {}))
        self.as_of = str(prices.get("as_of", ""))
        self._exchange: Mapping[str, float] = prices.get("exchange", {})
        self._priced = [(x, p) for x in strategy.limits if (p := float(prices.get("by_limit", {}).get(x.name, 0.0)))]
        covers = [(Expression(c.allow), np.array([c.covers(a) for a in strategy.actions])) for c in strategy.conditions]
        blocked = np.array([a in self._unsupported for a in strategy.action_names])
        self._conditions = [*covers, (Expression("False"), blocked)]
        taught = list(model.uplift.actions_)
        self._columns = np.array([taught.index(a) if a in taught else -1 for a in strategy.action_names])

    def apply(self, accounts: pd.DataFrame) -> pd.DataFrame:
        """Apply the rule to a table of accounts.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the features.

        Returns
        -------
        DataFrame, n rows
            ``account_id``; a column of net value for each action; ``priced_action``; ``prices_as_of``.

        Raises
        ------
        SchemaError
            Naming every fault by column and count, and no value.
        """
        given = accounts[[c for c in (*self.needed, *self.read) if c in accounts]]
        seen = inspect_table(given, self._contract)
        if seen.faults:
            told = [f.sentence + ("" if f.bad is None else f" ({int(f.bad.sum()):,} rows)") for f in seen.faults]
            raise SchemaError(f"the accounts cannot be scored: {'; '.join(told)}")
        priced = self.model.price(seen.frame)
        quantities = {k: f.to_numpy(dtype=float) for k, f in priced.quantities().items()}
        net = priced.net.to_numpy(dtype=float)
        out = priced.net.reset_index(names="account_id")
        permitted = permissions(self.model.strategy, seen.frame, unsupported=self._unsupported).allowed
        out["priced_action"] = self._choose(net, quantities, seen.frame, permitted & np.isfinite(net))
        out["prices_as_of"] = self.as_of
        return out

    def apply_one(self, account: Mapping[str, object]) -> dict[str, object]:
        """Apply the rule to a single account, in a few milliseconds.

        Parameters
        ----------
        account : mapping of str to scalar
            Its fields by name; None and NaN are missing.

        Returns
        -------
        dict
            What :meth:`apply` gives for it, to the last bit.

        Raises
        ------
        SchemaError
            As :meth:`apply`.
        """
        fields = {name: account[name] for name in (*self.needed, *self.read) if name in account}
        if self.model.strategy.objective.caution is not None or not evidently_sound(fields, self._contract):
            return cast("dict[str, object]", self.apply(pd.DataFrame([fields])).to_dict("records")[0])
        net, quantities = self._price_one(fields)
        one = OneAccount(fields)
        allowed = np.isfinite(net)
        for denies, covered in self._conditions:
            if not denies.allows(one)[0]:
                allowed &= ~covered
        (action,) = self._choose(net, quantities, one, allowed)
        values = dict(zip(self.model.strategy.action_names, net[0].tolist(), strict=True))
        return {"account_id": fields["account_id"], **values, "priced_action": action, "prices_as_of": self.as_of}

    def _price_one(self, fields: Mapping[str, object]) -> tuple[Floats, dict[str, Floats]]:
        """Do what the model's ``price`` does, without frames in between."""
        model = self.model
        encoded = model.uplift.encoder_.transform_one(fields)
        taught = model.uplift.learner_.predict(encoded, len(model.uplift.actions_))
        recovered = np.where(self._columns >= 0, taught[:, self._columns], np.nan)
        reach: dict[str, Floats] = {}
        if model.channel_response is not None:
            p = model.channel_response.predict_encoded(self._encode(model.channel_response, fields, encoded))
            reach = dict(zip(model.channel_response.channels_, p.T, strict=True))
        told: dict[str, Floats] = {}
        if model.complaints is not None:
            p = model.complaints.predict_encoded(self._encode(model.complaints, fields, encoded))
            told = dict(zip(model.complaints.actions_, p.T, strict=True))
        net, cost, minutes, complaints = price_arrays(model.strategy, recovered, reach=reach, complaints=told)
        return net, {"cost": cost, "minutes": minutes, "complaints": complaints}

    def _encode(self, part: ChannelResponseModel | ComplaintModel, fields: Mapping[str, object], encoded: Floats) -> Floats:
        """Encode for a part of the model; parts taught on the same columns and levels share the encoding."""
        one, other = part.encoder_, self.model.uplift.encoder_
        same = one.columns_ == other.columns_ and one.levels_ == other.levels_
        return encoded if same else one.transform_one(fields)

    def _choose(
        self,
        net: Floats,
        quantities: Mapping[str, Floats],
        accounts: pd.DataFrame | OneAccount,
        allowed: NDArray[np.bool_],
    ) -> NDArray[np.object_]:
        strategy, table = self.model.strategy, cast("pd.DataFrame", accounts)  # conditions read either
        allowed[:, 0] = True
        charged = np.where(allowed, net, -np.inf)
        for limit, price in self._priced:
            compiled = limit.compile(actions=strategy.actions, quantities=quantities, accounts=table)
            ratio = compiled.ratio
            usage = compiled.usage if ratio is None else ratio.usage(self._exchange.get(limit.name))
            charged = charged - price * np.broadcast_to(usage, charged.shape)
        return np.array(strategy.action_names, dtype=object)[charged.argmax(axis=1)]


def _further_fields(model: StrategyModel) -> list[str]:
    strategy = model.strategy
    texts = [c.allow for c in strategy.conditions]
    said = (getattr(x, part, None) for x in strategy.limits for part in ("where", "group", "reference"))
    texts += [text for text in said if text is not None]
    texts += [a.mandatory_when for a in strategy.actions if a.mandatory_when]
    read = dict.fromkeys(name for text in texts for name in Expression(text).fields)
    if any(getattr(x, "measure", "") == "balance" for x in strategy.limits):
        read["balance"] = None
    return [f for f in read if f not in {"account_id", *model.features}]
