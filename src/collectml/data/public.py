"""Two public data sets, read from a folder of your own and verified.

Neither is part of this library. The folder is the one named by the environment variable ``COLLECTML_DATA``; each data set
lies in a subfolder or directly in it, as CSV, gzipped CSV or Parquet.

- **Hillstrom**: Kevin Hillstrom, "The MineThatData E-Mail Analytics And Data Mining Challenge", 20 March 2008, on his blog
  MineThatData; 64,000 customers, three randomised arms. Subfolder ``hillstrom``.
- **Taiwan card default**: I-Cheng Yeh and Che-hui Lien, "Default of Credit Card Clients", UCI Machine Learning Repository;
  30,000 card accounts of a bank in Taiwan, April to September 2005. Subfolder ``uci_default_credit_card``. The repository's
  spreadsheet must be saved as CSV without its first line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from collectml.data.digest import content_digest
from collectml.errors import ConfigurationError, SchemaError

__all__ = ["hillstrom_decisions", "load_hillstrom", "load_taiwan_default", "taiwan_accounts"]

_VARIABLE: Final = "COLLECTML_DATA"
_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class _Dataset:
    """Where a public data set may lie, and what it must say."""

    title: str
    publisher: str
    subfolder: str
    file_words: tuple[str, ...]
    digest: str
    rename: Mapping[str, str] = field(default_factory=dict)


_HILLSTROM: Final = _Dataset(
    title="Hillstrom e-mail challenge",
    publisher="Kevin Hillstrom's blog MineThatData (E-Mail Analytics And Data Mining Challenge, 20 March 2008)",
    subfolder="hillstrom",
    file_words=("hillstrom",),
    digest="dc7399796fc94b59eddb5d67e3d7d365e03f7fb85049bf97215987b17ccc55e6",
)
_TAIWAN: Final = _Dataset(
    title="Taiwan card default set",
    publisher="the UCI Machine Learning Repository (Default of Credit Card Clients, Yeh and Lien 2009), saved as CSV",
    subfolder="uci_default_credit_card",
    file_words=("credit_card", "credit card"),
    digest="868be155a9aa00158bfcc2bdb7ad40927d0b73ca5f035c23727ceccc71025317",
    rename={"default payment next month": "default.payment.next.month"},
)


def _numbers_rounded(frame: pd.DataFrame) -> pd.DataFrame:
    # readers of CSV may differ in the last bit of a float; no value here has more than two decimals
    return frame.assign(**{name: frame[name].round(6) for name in frame.columns if pdt.is_float_dtype(frame[name])})


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path)


def _load(dataset: _Dataset, folder: str | os.PathLike[str] | None) -> pd.DataFrame:
    named = folder if folder is not None else os.environ.get(_VARIABLE)
    obtain = f"obtain it from {dataset.publisher}"
    if not named:
        raise ConfigurationError(f"{dataset.title}: set {_VARIABLE} to the folder that holds it; {obtain}")
    root = Path(named)
    own = sorted((root / dataset.subfolder).glob("*")) if (root / dataset.subfolder).is_dir() else []
    near = [p for p in sorted(root.glob("*")) if any(word in p.name.lower() for word in dataset.file_words)]
    files = [p for p in own + near if p.is_file() and p.name.lower().endswith(_SUFFIXES)]
    if not files:
        raise ConfigurationError(
            f"{dataset.title}: no CSV, gzipped CSV or Parquet file in {root / dataset.subfolder} or {root}; {obtain}"
        )
    for path in files:
        try:
            frame = _read(path).rename(columns=dict(dataset.rename))
        except (OSError, ValueError):  # no such format, whatever the name says: as wrong as other content
            continue
        if content_digest(_numbers_rounded(frame)) == dataset.digest:
            return frame
    raise SchemaError(
        f"{dataset.title}: {', '.join(p.name for p in files)} in {root} is not the data set published "
        f"(digest of its content differs); {obtain}"
    )


def load_hillstrom(folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Load the Hillstrom e-mail challenge as published.

    Parameters
    ----------
    folder : path, optional
        Where it lies; by default the folder named by ``COLLECTML_DATA``.

    Returns
    -------
    DataFrame, shape (64000, 12)
        ``recency`` (months), ``history_segment``, ``history`` (dollars in the past year), ``mens``, ``womens``,
        ``zip_code``, ``newbie``, ``channel``; arm ``segment``; outcomes within two weeks ``visit``, ``conversion``,
        ``spend`` (dollars).

    Raises
    ------
    ConfigurationError
        No folder or no file: says where to obtain it.
    SchemaError
        A file with other content.
    """
    return _load(_HILLSTROM, folder)


def load_taiwan_default(folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Load the Taiwan card default set as published.

    Parameters
    ----------
    folder : path, optional
        As in :func:`load_hillstrom`.

    Returns
    -------
    DataFrame, shape (30000, 25)
        ``ID``, ``LIMIT_BAL`` (NT dollars), ``SEX``, ``EDUCATION``, ``MARRIAGE``, ``AGE``, repayment status ``PAY_0``,
        ``PAY_2`` to ``PAY_6`` (September back to April 2005), bills ``BILL_AMT1`` to ``6`` and payments ``PAY_AMT1`` to
        ``6`` (NT dollars), target ``default.payment.next.month``.

    Raises
    ------
    ConfigurationError, SchemaError
        As in :func:`load_hillstrom`.
    """
    return _load(_TAIWAN, folder)


def hillstrom_decisions(folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Hillstrom in the roles of a decision log.

    An e-mail is an action, no e-mail the control; what the customer spent in the two weeks after stands for money recovered
    (a horizon of 14 days). The arms were drawn with probability 1/3 each. ``visit`` and ``conversion`` are outcomes and left
    out. The day of mailing was not published: ``decided_at`` is that of the challenge, the same for all.

    Parameters
    ----------
    folder : path, optional
        As in :func:`load_hillstrom`.

    Returns
    -------
    DataFrame, shape (64000, 14)
        ``account_id`` (row number from 0), ``decided_at``, ``action`` (``no_action``, ``mens_email``, ``womens_email``),
        ``logging_propensity``, ``paid``, ``recovered`` (dollars); features ``recency``, ``history_segment``, ``history``,
        ``mens``, ``womens``, ``zip_code``, ``newbie``, ``channel``.
    """
    frame = load_hillstrom(folder)
    arms = {"No E-Mail": "no_action", "Mens E-Mail": "mens_email", "Womens E-Mail": "womens_email"}
    roles: dict[str, Any] = {
        "account_id": np.arange(len(frame)),
        "decided_at": pd.Timestamp("2008-03-20"),
        "action": frame["segment"].map(arms).astype("str"),
        "logging_propensity": 1 / 3,
        "paid": (frame["spend"] > 0).astype("int8"),
        "recovered": frame["spend"].astype("float64"),
    }
    features = frame.drop(columns=["segment", "visit", "conversion", "spend"])
    return pd.concat([pd.DataFrame(roles), features], axis="columns")


def taiwan_accounts(folder: str | os.PathLike[str] | None = None) -> tuple[pd.DataFrame, pd.Series]:
    """Taiwan's card accounts as features and the target of propensity to pay: not defaulting next month.

    Codes that name kinds become categories: ``SEX`` 1 male, 2 female; ``EDUCATION`` 1 graduate_school, 2 university,
    3 high_school, 4 other; ``MARRIAGE`` 1 married, 2 single, 3 other. Codes the publishers do not document
    (``EDUCATION`` 0, 5, 6; ``MARRIAGE`` 0) are "unknown". Repayment status stays a number: it is ordered (-2 no use,
    -1 paid in full, 0 revolving, 1 to 9 months late). Mind that sex, age and marriage may be protected where you lend.

    Parameters
    ----------
    folder : path, optional
        As in :func:`load_hillstrom`.

    Returns
    -------
    X : DataFrame, shape (30000, 23)
        Index: account id (``ID``).
    y : Series of int8, shape (30000,)
        1 where the account does not default next month.
    """
    frame = load_taiwan_default(folder).set_index("ID").rename_axis("account_id")
    kinds = {
        "SEX": {1: "male", 2: "female"},
        "EDUCATION": {1: "graduate_school", 2: "university", 3: "high_school", 4: "other"},
        "MARRIAGE": {1: "married", 2: "single", 3: "other"},
    }
    paid = (1 - frame.pop("default.payment.next.month")).astype("int8").rename("paid")
    for name, labels in kinds.items():
        levels = [*labels.values(), "unknown"]
        frame[name] = pd.Categorical(frame[name].map(labels).fillna("unknown"), categories=levels)
    return frame, paid
