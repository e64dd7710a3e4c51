"""Answers of a scoring server: MLflow's repeat the rows they could not use; these say what is wrong, and no row."""

from __future__ import annotations

import re
import sys
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

__all__ = ["RequestRefused", "keep_rows_private"]

APP = "mlflow.pyfunc.scoring_server.app"
UNREADABLE = (
    "the request cannot be read: send JSON in UTF-8 with dataframe_records or dataframe_split; "
    "its content is not repeated here"
)


class RequestRefused(MlflowException):  # type: ignore[misc]  # mlflow ships no types
    """A request that cannot be answered (HTTP 400): one line that holds nothing of it.

    Parameters
    ----------
    reason : str
        The line.
    """

    mark = "refused: "

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.mark}{reason}", error_code=BAD_REQUEST)


def keep_rows_private() -> None:
    """Let no error of the scoring server of this process repeat what it was sent.

    Notes
    -----
    ``mlflow models serve`` has no place for a handler of one's own, so the function that answers is wrapped while the model
    loads, in a serving process only. Where MLflow no longer has that function, the model refuses to be served.
    """
    if APP not in sys.modules:
        return
    from mlflow.pyfunc import scoring_server

    answer = getattr(scoring_server, "invocations", None)
    if answer is None:
        raise RuntimeError("this MLflow answers errors in a way that collectml does not know: it might repeat accounts")
    if getattr(answer, "keeps_rows_private", False):
        return

    def invocations(data: Any, content_type: str | None, model: Any, input_schema: Any) -> Any:
        try:
            return answer(data, content_type or "", model, input_schema)
        except Exception as error:
            reason = _reason(error)
        # raised out here: the error that holds the rows is not even its context
        raise RequestRefused(reason)

    invocations.keeps_rows_private = True  # type: ignore[attr-defined]
    scoring_server.invocations = invocations


def _reason(error: Exception) -> str:
    """Find what may be said of an error: our own words, or the names of missing fields."""
    text = str(getattr(error, "message", ""))
    said = re.search(re.escape(RequestRefused.mark) + r"(.*)", text)
    if said is not None:
        return said[1]
    missing = re.search(r"missing inputs (\[[^\]]*\])", text)
    if missing is not None:
        return f"fields are missing: {missing[1][1:-1]}"
    return UNREADABLE
