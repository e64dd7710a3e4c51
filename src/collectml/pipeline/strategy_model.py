"""The strategy model: everything a batch needs to score accounts and assign actions, saved as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import pandas as pd

from collectml.artifact import Parts, read_parts, write_parts
from collectml.errors import ArtifactError, SchemaError
from collectml.models import ChannelResponseModel, ComplaintModel, PropensityToPayModel, RiskGrader
from collectml.policy import Assignment, PricedActions, StrategyTree, TreatmentPolicy, price_actions
from collectml.strategy import Strategy
from collectml.uplift import UpliftModel

from .cases import case_studies
from .drivers import account_reasons
from .evidence import Evidence

__all__ = ["StrategyModel", "load"]

BLOCK = 131_072

_KINDS = {
    "uplift": UpliftModel,
    "propensity_to_pay": PropensityToPayModel,
    "channel_response": ChannelResponseModel,
    "complaints": ComplaintModel,
    "risk_grader": RiskGrader,
}


@dataclass(frozen=True)
class StrategyModel:
    """A trained strategy.

    Parameters
    ----------
    strategy : Strategy
        What may be done, within which limits.
    uplift : UpliftModel
        What every action is expected to bring.
    propensity_to_pay : PropensityToPayModel
        Who pays, whatever is done; feeds the grades.
    channel_response : ChannelResponseModel or None
        Who is reached; feeds minutes and costs. Without it the strategy's stated figures count.
    complaints : ComplaintModel or None
        Who complains; likewise.
    grader : RiskGrader
        Grades A to D, cut-offs frozen.
    evidence : Evidence
        What training found out.
    """

    strategy: Strategy
    uplift: UpliftModel
    propensity_to_pay: PropensityToPayModel
    channel_response: ChannelResponseModel | None
    complaints: ComplaintModel | None
    grader: RiskGrader
    evidence: Evidence

    @property
    def features(self) -> list[str]:
        """Names of the account fields the models read."""
        return list(self.uplift.encoder_.columns_)

    @property
    def logged(self) -> dict[str, int]:
        """Rows of the log that supported each action."""
        support = self.evidence.tables["support"]
        return dict(zip(support["action"], support["rows"].astype(int), strict=True))

    def price(self, accounts: pd.DataFrame) -> PricedActions:
        """Price every action for every account.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the features.

        Returns
        -------
        PricedActions
            Actions without evidence have missing values.

        Raises
        ------
        SchemaError
            Where features are missing.
        """
        X = self._features_of(accounts)
        # block by block: what the models need beside the result stays the same for any number of accounts
        blocks = [self._price(X.iloc[at : at + BLOCK]) for at in range(0, max(1, len(X)), BLOCK)]
        if len(blocks) == 1:
            return blocks[0]
        return PricedActions(*(pd.concat([getattr(b, f.name) for b in blocks]) for f in fields(PricedActions)))

    def _price(self, X: pd.DataFrame) -> PricedActions:
        recovered = self.uplift.predict(X).reindex(columns=list(self.strategy.action_names))
        reach = None if self.channel_response is None else self.channel_response.predict_proba(X)
        complaints = None if self.complaints is None else self.complaints.predict(X)
        errors = None
        if self.strategy.objective.caution is not None:
            errors = self.uplift.predict_error(X).reindex(columns=list(self.strategy.action_names))
        return price_actions(self.strategy, recovered, reach=reach, complaints=complaints, standard_errors=errors)

    def score(self, accounts: pd.DataFrame) -> pd.DataFrame:
        """Give the net value of every action for every account.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the features.

        Returns
        -------
        DataFrame, accounts × actions
            Money; missing where there is no evidence for an action.
        """
        return self.price(accounts).net

    def assign(
        self,
        accounts: pd.DataFrame,
        *,
        capacity: pd.DataFrame | Mapping[str, float] | None = None,
        as_of: str | pd.Timestamp | None = None,
        tree: StrategyTree | None = None,
    ) -> Assignment:
        """Assign one action to every account.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot.
        capacity : DataFrame or mapping, optional
            Capacity calendar, or upper bounds by limit name.
        as_of : str or Timestamp, optional
            Date of the decision; the snapshot's own ``as_of`` where not given.
        tree : StrategyTree, optional
            Makes the plan in place of each account's own values.

        Returns
        -------
        Assignment
        """
        if as_of is None:
            if "as_of" not in accounts:
                raise SchemaError("accounts have no column 'as_of': say as_of=")
            as_of = pd.Timestamp(accounts["as_of"].max())
        policy = TreatmentPolicy(self.strategy, logged=self.logged, tree=tree)
        return policy.assign(self.price(accounts), accounts, capacity=capacity, as_of=as_of)

    def grades(self, accounts: pd.DataFrame) -> pd.Series:
        """Grade accounts A to D by the cut-offs frozen in training.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the features.

        Returns
        -------
        Series of str
        """
        X = self._features_of(accounts)
        if self.grader.method == "propensity_balance":
            return self.grader.predict(X, propensity_to_pay=self.propensity_to_pay.predict_proba(X)[:, 1])
        return self.grader.predict(X)

    def reasons(
        self,
        accounts: pd.DataFrame,
        action: pd.Series | None = None,
        *,
        dictionary: Mapping[str, str] | None = None,
        forbidden: Collection[str] = (),
    ) -> pd.DataFrame:
        """Tell, account by account, why an action changes the chance of payment as much as it does.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the features.
        action : Series of str, length n, optional
            Action to explain for each account; its most valuable one where not given. Of the control there is nothing to tell.
        dictionary : mapping of str to str, optional
            Approved text of each feature; what it does not name is no reason. Features' own names where not given.
        forbidden : collection of str
            Features never printed, whatever the dictionary says.

        Returns
        -------
        DataFrame
            ``account_id, rank, reason, direction`` (``"raises"`` or ``"lowers"`` the effect), ``contribution`` (log-odds).

        Raises
        ------
        ConfigurationError
            For learners other than the hurdle, and actions without evidence.
        """
        flips = self.evidence.tables.get("flip_rates")
        return account_reasons(
            self.uplift, self._features_of(accounts), action, dictionary=dictionary, forbidden=forbidden, flips=flips
        )

    def cases(self, assignment: Assignment, accounts: pd.DataFrame) -> dict[str, object]:
        """Explain accounts picked by rule: why their action and not the next best, in money.

        Parameters
        ----------
        assignment : Assignment
            What was assigned.
        accounts : DataFrame, n rows
            The accounts decided.

        Returns
        -------
        dict
            As :func:`~collectml.pipeline.cases.case_studies`.
        """
        return case_studies(self, assignment, accounts)

    def _features_of(self, accounts: pd.DataFrame) -> pd.DataFrame:
        missing = [c for c in ("account_id", *self.features) if c not in accounts.columns]
        if missing:
            raise SchemaError(f"accounts: the model needs {', '.join(missing)}, which the snapshot does not have")
        return accounts[self.features].set_axis(pd.Index(accounts["account_id"]), axis="index")

    def save(self, folder: str | Path) -> Path:
        """Save as a folder of LightGBM text, JSON and Parquet.

        Parameters
        ----------
        folder : str or Path
            Where to; replaced where it exists, whole or not at all.

        Returns
        -------
        Path
        """
        values: dict[str, object] = {"strategy": self.strategy.model_dump(mode="json"), "facts": self.evidence.facts}
        texts: dict[str, str] = {}
        for name in _KINDS:
            model = self.grader if name == "risk_grader" else getattr(self, name)
            if model is None:
                continue
            parts = model.to_parts()
            boosters = cast("dict[str, str]", parts.get("boosters", {}))
            values[name] = {"kind": parts["kind"], "config": parts["config"], "boosters": sorted(boosters)}
            texts |= {f"{name}.{booster}": text for booster, text in boosters.items()}
        tables = {f"evidence.{name}": table for name, table in self.evidence.tables.items()}
        return write_parts(Parts(values, texts, tables), folder)


def load(folder: str | Path) -> StrategyModel:
    """Load a saved strategy model.

    Parameters
    ----------
    folder : str or Path
        As written by :meth:`StrategyModel.save`.

    Returns
    -------
    StrategyModel

    Raises
    ------
    ArtifactError
        Where the folder is no strategy model, incomplete, altered or of another format.
    """
    parts = read_parts(folder)
    if "strategy" not in parts.values or "uplift" not in parts.values:
        raise ArtifactError(f"{folder} is a saved model, but no strategy model")
    models: dict[str, object] = {}
    for name, kind in _KINDS.items():
        stored = cast("dict[str, object] | None", parts.values.get(name))
        if stored is None:
            models[name] = None
            continue
        texts = {b: parts.texts[f"{name}.{b}"] for b in cast("list[str]", stored["boosters"])}
        models[name] = kind.from_parts({"kind": stored["kind"], "config": stored["config"], "boosters": texts})  # type: ignore[attr-defined]
    tables = {n.removeprefix("evidence."): t for n, t in parts.tables.items() if n.startswith("evidence.")}
    return StrategyModel(
        strategy=Strategy.model_validate(parts.values["strategy"]),
        uplift=cast("UpliftModel", models["uplift"]),
        propensity_to_pay=cast("PropensityToPayModel", models["propensity_to_pay"]),
        channel_response=cast("ChannelResponseModel | None", models["channel_response"]),
        complaints=cast("ComplaintModel | None", models["complaints"]),
        grader=cast("RiskGrader", models["risk_grader"]),
        evidence=Evidence(cast("dict[str, object]", parts.values["facts"]), tables),
    )
