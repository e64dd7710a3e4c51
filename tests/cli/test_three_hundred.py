"""Three hundred bad inputs, written by hand and generated: one clear line each, the right exit code, nothing written.

The faults of YAML, Parquet and command lines are made from sound ones, a single change at a time, so that each is known to be one.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = "2026-06-30"
SHIPPED = Path(__file__).parents[2] / "experiments" / "card_early_stage.yaml"
STRATEGY = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["strategy"]


def _nodes(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], object]]:
    yield path, value
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(part, (*path, key))


def _changed(path: tuple[object, ...], change: Callable[[object], object]) -> object:
    content = copy.deepcopy(STRATEGY)
    if not path:
        return change(content)
    at = content
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = change(at[path[-1]])
    return content


def _yaml_faults() -> list[tuple[str, str]]:
    """Name and text: an unknown key in every mapping, and something of a wrong kind in place of every scalar."""
    found = []
    for path, value in _nodes(STRATEGY):
        where = ".".join(map(str, path))
        if isinstance(value, dict):
            found.append((f"{where} has a key nobody knows", _changed(path, lambda v: {**v, "nobody_knows": 1})))
            found.append((f"{where} is a list", _changed(path, lambda v: [[v]])))
        elif not isinstance(value, list):
            found.append((f"{where} is a mapping", _changed(path, lambda v: {"a": 1})))
    return [(name, yaml.safe_dump(content)) for name, content in found]


BROKEN_YAML = [
    ("empty", ""), ("a scalar", "7"), ("a list", "- a\n- b"), ("unclosed", "name: [a"), ("a tab", "name:\n\t- a"),
    ("an alias to nothing", "name: *nothing"), ("a python object", "name: !!python/object/apply:os.system ['true']"),
    ("two documents", "name: a\n---\nname: b"), ("no text", "\x00\x01"), ("twice the same key", "name: a\nname: b"),
    ("billion laughs", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nname: *c"),
    ("deep", "name: " + "[" * 200 + "]" * 200), ("a date for a name", "name: 2026-01-01"),
]  # fmt: skip
CONDITIONS = [
    "__import__('os').system('true')", "balance >", "balance > 'x' and", "(lambda: 1)()", "balance.real > 1", "[x for x in y]",
    "balance := 3", "f'{balance}'", "balance > 1 if dispute else 2", "not", "1 +", "not " * 60 + "dispute", "a" * 3_000,
    "balance ** 2 > 4", "balance[0] > 1", "balance // 2 > 1", "balance @ 2 > 1", "await balance", "balance > ...", "{1: 2}",
]  # fmt: skip
YAML = [
    *BROKEN_YAML,
    *((f"condition {c[:20]}", yaml.safe_dump(_changed(("conditions", 0, "allow"), lambda _, c=c: c))) for c in CONDITIONS),
    *_yaml_faults(),
]

BASE = {"--accounts": "ACCOUNTS", "--out": "OUT", "--as-of": DAY, "--model": "MODEL"}
OPTIONS: list[dict[str, str | None]] = [
    *({"--as-of": x} for x in ("", "tomorrow", "2026-13-01", "2026-02-30", "30.06.2026x", "NaT", "-1", "1e400", "٣")),
    *({"--memory": x} for x in ("", "2", "-1GiB", "2 TB of it", "nan", "inf", "1e999GiB", "GiB", "٣GiB", "0x10")),
    *({"--max-rejects": x} for x in ("", "-1", "1.5", "many", "101%", "-1%", "%", "nan%", "inf%", "1e3")),
    *({"--quality": x} for x in ("", "halt", "STOP!", "0")),
    *({"--accounts": x} for x in ("", "absent.parquet", "absent-*.parquet", "/", "postgresql://", "postgresql://h/d", "x.csv")),
    *({"--model": x} for x in ("", "absent", "models:/", "/etc/hostname")),
    *({"--strategy": x} for x in ("absent.yaml", "/")),
    *({"--capacity": x} for x in ("absent.parquet", "/")),
    *({"--tree": x} for x in ("absent.yaml", "/")),
    *({x: None} for x in BASE),
    *({x: "1"} for x in ("--acounts", "--bogus", "--memry", "--out-folder", "-z", "--dry-run")),
    {"--log": "/"}, {"--log": "absent/log.jsonl"}, {"--to-table": "nowhere"}, {"--to-table": "postgresql://h/d"},
]  # fmt: skip

COLUMNS = (
    "account_id", "customer_id", "as_of", "balance", "arrears", "instalment", "days_past_due", "months_on_book",
    "worst_dpd_12m", "times_30_12m", "behaviour_score", "income", "utilisation", "payments_12m", "promises_kept",
    "contacts_90d", "has_phone", "has_email", "hardship", "consent_call", "optout_sms", "dispute", "committed_until",
)  # fmt: skip
BAD_VALUES: dict[str, object] = {"text": "Jane Public", "a list": [[1]], "bytes": b"\xff", "negative": -7.5}
MORE_TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "no rows": lambda x: x.head(0), "no columns": lambda x: x[[]], "only ids": lambda x: x[["account_id"]],
    "ids repeat": lambda x: pd.concat([x, x.head(1)]), "ids missing": lambda x: x.assign(account_id=None),
    "ids are fractions": lambda x: x.assign(account_id=x["account_id"] + 0.5),
    "infinite": lambda x: x.assign(balance=float("inf")), "huge": lambda x: x.assign(days_past_due=2**63 - 1.0),
    "all missing": lambda x: x.assign(balance=float("nan")), "upper case": lambda x: x.rename(columns=str.upper),
}  # fmt: skip


def _tables() -> list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]]:
    found = list(MORE_TABLES.items())
    for column in COLUMNS:
        for name, value in BAD_VALUES.items():
            # a date or an id may be text, an id may be negative; what is left is wrong for every one of them
            if (column.endswith("_id") and name in ("text", "negative")) or (column == "as_of" and name == "bytes"):
                continue
            found.append((f"{column} is {name}", lambda x, c=column, v=value: x.assign(**{c: [v] * len(x)})))
    return found


def _some(cases: list, n: int) -> list:
    return random.Random(0).sample(cases, n)  # noqa: S311  (a fixed choice, not a secret)


@pytest.fixture(scope="module")
def sound(trained) -> pd.DataFrame:
    return pd.read_parquet(trained.accounts).head(60)


@pytest.fixture
def refused(trained, run, tmp_path_factory, monkeypatch):
    def go(codes: set[int], change: dict[str, str | Path | None], accounts: Path | None = None) -> None:
        folder = tmp_path_factory.mktemp("bad")
        monkeypatch.chdir(folder)
        places = {"ACCOUNTS": str(accounts or trained.accounts), "OUT": str(folder / "out"), "MODEL": str(trained.model)}
        given = {**BASE, **{k: None if v is None else str(v) for k, v in change.items()}}
        words = [w for k, v in given.items() if v is not None for w in (k, places.get(v, v))]
        result = run("score-and-assign", *words)
        assert result.code in codes, (change, result.code, result.err)
        lines = result.err.splitlines()
        assert lines[0].startswith("error: "), result.err
        assert len(lines[0]) > len("error: ") + 10
        assert "Traceback" not in result.err
        assert "run again with -v" not in result.err, result.err
        assert "Jane" not in result.err
        assert len(lines) == 1 or result.code in (2, 3)  # a table of faults, or every fault of a file, may follow
        assert list(folder.iterdir()) == []
        folder.rmdir()

    return go


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "strategy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_three_hundred():
    assert len(YAML) + len(OPTIONS) + len(_tables()) > 300
    assert len({name for name, _ in YAML}) == len(YAML)


@pytest.mark.parametrize(("name", "text"), _some(YAML, 12), ids=lambda x: x[:40] if isinstance(x, str) else None)
def test_some_strategies_that_are_none(refused, tmp_path, name, text):
    refused({2}, {"--strategy": _write(tmp_path, text)})


@pytest.mark.parametrize("change", _some(OPTIONS, 12), ids=str)
def test_some_command_lines(refused, change):
    refused({1, 2, 3, 5}, change)


@pytest.mark.parametrize(("name", "change"), _some(_tables(), 4), ids=lambda x: x if isinstance(x, str) else "")
def test_some_tables(refused, sound, tmp_path, name, change):
    change(sound).to_parquet(tmp_path / "bad.parquet", index=False)
    refused({3}, {}, tmp_path / "bad.parquet")


@pytest.mark.slow
def test_all_strategies_that_are_none(refused, tmp_path):
    for _, text in YAML:
        refused({2}, {"--strategy": _write(tmp_path, text)})


@pytest.mark.slow
def test_all_command_lines(refused):
    for change in OPTIONS:
        refused({1, 2, 3, 5}, change)


@pytest.mark.slow
def test_all_tables(refused, sound, tmp_path):
    for _, change in _tables():
        change(sound).to_parquet(tmp_path / "bad.parquet", index=False)
        refused({3}, {}, tmp_path / "bad.parquet")


_ONE_FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=_ONE_FIXTURE)
@given(where=st.floats(0, 1), what=st.binary(min_size=1, max_size=40), how=st.sampled_from(["cut", "put in", "over"]))
def test_parquet_with_damage_anywhere(trained, run, sound, tmp_path_factory, where, what, how):
    """Bytes cut off, put in or written over: refused with a line, or, where nothing that counts was hit, read as it is."""
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "bad.parquet"
    sound.to_parquet(path, index=False)
    content = path.read_bytes()
    at = int(where * (len(content) - 1))
    rest = {"cut": b"", "put in": what + content[at:], "over": what + content[at + len(what) :]}[how]
    path.write_bytes(content[:at] + rest)
    words = ["--accounts", path, "--out", folder / "out", "--as-of", DAY, "--model", trained.model, "--dry-run"]
    result = run("score-and-assign", *words)
    assert result.code in (0, 3), result.err
    assert (result.err == "") == (result.code == 0)
    assert "Traceback" not in result.err
    assert "run again with -v" not in result.err
    assert sorted(p.name for p in folder.iterdir()) == ["bad.parquet"]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=_ONE_FIXTURE)
@given(text=st.text(max_size=200))
def test_any_text_for_a_strategy(run, trained, tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("text")
    path = folder / "strategy.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    words = ["--accounts", trained.accounts, "--out", folder / "out", "--as-of", DAY, "--model", trained.model]
    result = run("score-and-assign", *words, "--strategy", path)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert sorted(p.name for p in folder.iterdir()) == ["strategy.yaml"]
