"""The committee report: one page a risk committee can decide on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from collectml.policy import Assignment

from .blocks import Approval, Inputs, ModelLike
from .payload import build_payload
from .render import to_html

__all__ = ["CommitteeReport"]


class CommitteeReport:
    """The report on a trained strategy and an assignment made with it.

    Parameters
    ----------
    model : StrategyModel
        Strategy and the evidence for it.
    assignment : Assignment
        What was assigned.
    accounts : DataFrame, optional
        The accounts decided; they must be the assignment's.
    title : str, optional
        Title.
    cases : dict, optional
        Cases explained; asked of the model where it can tell them (``model.cases``) and accounts are given.
    approval : Approval, optional
        What the committee brings: owners, dates, findings. While an owner or a date is missing, the report is a draft.
    champion : Assignment, optional
        What the model in use assigns to the same accounts, under the same limits.
    provenance : mapping of str to str, optional
        Model version, run, commit: printed at the foot of every page.

    Notes
    -----
    The same model and assignment give the same bytes. Nothing but aggregates goes into the page.
    """

    def __init__(
        self,
        model: ModelLike,
        assignment: Assignment,
        *,
        accounts: pd.DataFrame | None = None,
        title: str | None = None,
        cases: dict[str, Any] | None = None,
        approval: Approval | None = None,
        champion: Assignment | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        if accounts is not None and len(accounts) != len(assignment.frame()):
            raise ValueError(f"{len(accounts):,} accounts, but {len(assignment.frame()):,} were assigned")
        if accounts is not None and not set(accounts["account_id"]) == set(assignment.frame()["account_id"]):
            raise ValueError("the accounts are others than those that were assigned")
        if champion is not None and not assignment.problem.ids.isin(champion.problem.ids).all():
            raise ValueError("the champion did not assign the same accounts")
        self.model = model
        self.assignment = assignment
        self.title = title
        self.accounts = accounts
        self.cases = cases
        self.approval = approval or Approval()
        self.champion = champion
        self.provenance = dict(provenance or {})

    def payload(self) -> dict[str, object]:
        """Give every number of the report, checked.

        Returns
        -------
        dict
            JSON-able.

        Raises
        ------
        BrokenIdentityError
            Where numbers do not agree.
        """
        if self.cases is None:
            tell = getattr(self.model, "cases", None)
            self.cases = {} if tell is None or self.accounts is None else tell(self.assignment, self.accounts)
        return build_payload(
            self.model,
            self.assignment,
            title=self.title,
            inputs=Inputs(self.accounts, self.cases, self.champion, self.approval),
            provenance=self.provenance,
        )

    def to_html(self, path: str | Path, *, language: str = "en") -> Path:
        """Write the report as one self-contained HTML file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            File; replaced where it exists.
        language : {"en", "zh-CN", "both"}
            English, Simplified Chinese, or side by side.

        Returns
        -------
        Path
        """
        return _write(Path(path), to_html(self.payload(), language=language).encode())

    def to_json(self, path: str | Path) -> Path:
        """Write the payload: every number of the report.

        Parameters
        ----------
        path : str or Path
            File; replaced where it exists.

        Returns
        -------
        Path
        """
        text = json.dumps(self.payload(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return _write(Path(path), text.encode() + b"\n")

    def to_pdf(self, path: str | Path, *, language: str = "en") -> Path:
        """Write the report as an A4 PDF.

        Parameters
        ----------
        path : str or Path
            File; replaced where it exists.
        language : {"en", "zh-CN", "both"}
            English, Simplified Chinese, or side by side.

        Returns
        -------
        Path

        Raises
        ------
        ConfigurationError
            Where the extra ``report`` is not installed.
        """
        from .pdf import to_pdf

        return _write(Path(path), to_pdf(to_html(self.payload(), language=language)))


def _write(target: Path, content: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
