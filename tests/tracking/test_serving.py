"""The champion behind ``mlflow models serve``, a real process: values and priced actions; errors that repeat no row."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import collectml as cm
from collectml.pipeline import PriceRule

pytestmark = pytest.mark.slow  # the server imports all of MLflow: half a minute on two shared cores

NAME = "collectml-card_early_stage"
PLANTED = "Zebediah Q. Planted +49 170 5550123"


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "server.log"
    words = [
        "models",
        "serve",
        "-m",
        f"models:/{NAME}@champion",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdout=out,
            stderr=out,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": f"sqlite:///{trained.root / 'data' / 'mlflow.db'}",
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # MLflow calls uvicorn by name
            },
            start_new_session=True,
        )
    uri, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    while _status(f"{uri}/ping") != 200:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, "the server did not come up"
        time.sleep(0.5)
    yield uri
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)
    assert PLANTED not in log.read_text(encoding="utf-8", errors="replace")


def _status(uri: str) -> int:
    try:
        with urllib.request.urlopen(uri, timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except OSError:
        return 0


def _ask(server: str, body: bytes, kind: str = "application/json") -> tuple[int, str]:
    request = urllib.request.Request(f"{server}/invocations", body, {"Content-Type": kind})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def accounts(trained) -> pd.DataFrame:
    return pd.read_parquet(trained.accounts).head(50)


@pytest.fixture(scope="module")
def expected(trained, accounts) -> pd.DataFrame:
    return PriceRule(cm.load(trained.model)).apply(accounts)


def _records(frame: pd.DataFrame) -> bytes:
    return f'{{"dataframe_records": {frame.to_json(orient="records", date_format="iso", double_precision=15)}}}'.encode()


def _split(frame: pd.DataFrame) -> bytes:
    content = frame.to_json(orient="split", date_format="iso", double_precision=15, index=False)
    return f'{{"dataframe_split": {content}}}'.encode()


@pytest.mark.parametrize("rows", [1, 50])
@pytest.mark.parametrize("form", [_records, _split])
def test_values_and_the_priced_action(server, accounts, expected, rows, form):
    status, text = _ask(server, form(accounts.head(rows)))
    assert status == 200, text
    got = pd.DataFrame(json.loads(text)["predictions"])
    pd.testing.assert_frame_equal(got, expected.head(rows), check_dtype=False, rtol=1e-12)


def _with(accounts: pd.DataFrame, **fields: object) -> bytes:
    records = json.loads(accounts.head(2).to_json(orient="records", date_format="iso"))
    records[0] |= fields
    return json.dumps({"dataframe_records": records}).encode()


BAD = {
    "text for a number": (lambda a: _with(a, balance=PLANTED), "column 'balance' must hold numbers"),
    "below the range": (lambda a: _with(a, balance=-5550123), "column 'balance' must be >= 0"),
    "a flag that is none": (lambda a: _with(a, has_mobile=PLANTED), "column 'has_mobile' must hold true or false"),
    "missing fields": (lambda a: _records(a.drop(columns=["balance", "arrears"])), "balance"),
    "an account twice": (lambda a: _records(pd.concat([a.head(1), a.head(1)])), "must be unique"),
    "one bad account alone": (lambda a: _records(a.head(1).assign(product=5550123)), "product"),
    "no rows": (lambda a: b'{"dataframe_records": []}', ""),
    "no JSON": (lambda a: f'{{"dataframe_records": [{{"name": "{PLANTED}"'.encode(), "cannot be read"),
    "another key": (lambda a: json.dumps({"people": [PLANTED]}).encode(), "cannot be read"),
    "a list": (lambda a: json.dumps([PLANTED]).encode(), "cannot be read"),
    "nested": (lambda a: _with(a, balance={"name": PLANTED}), ""),
    "a column of lists": (lambda a: _with(a, product=[PLANTED]), ""),
    "not UTF-8": (lambda a: b'{"dataframe_records": ["\xff\xfe 5550123"]}', "cannot be read"),
    "nothing": (lambda a: b"", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_told_and_not_repeated(server, accounts, name):
    body, words = BAD[name]
    status, text = _ask(server, body(accounts))
    assert status == 400, text
    error = json.loads(text)
    assert error["error_code"] == "BAD_REQUEST"
    assert words in error["message"]
    assert len(error["message"].splitlines()) == 1
    assert not [
        secret for secret in ("Zebediah", "5550123", "Traceback", str(accounts["account_id"].iloc[0])) if secret in text
    ]


def test_other_content_and_no_content_type(server):
    status, text = _ask(server, f"account_id,name\n1,{PLANTED}\n".encode(), "text/csv")
    assert (status, "Zebediah" in text) == (400, False)
    assert _ask(server, PLANTED.encode(), "text/plain")[0] == 415
    status, text = _ask(server, PLANTED.encode(), "")
    assert status in (400, 415)
    assert "Zebediah" not in text
    assert _status(f"{server}/health") == 200  # after all that
