"""Which version decides: promotion through gates, and the way back, each written down with who, when and why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from collectml.errors import ConfigurationError, PromotionRefusedError
from collectml.pipeline import Experiment, Gate, load, promotion_gates, read_data, read_experiment
from collectml.strategy.reading import parse

from .registry import fetch
from .store import Store, asking, mlflow_quiet

__all__ = ["Promotion", "Rollback", "history", "promote", "roll_back"]

CHAMPION = "champion"
TEXT = 400  # MLflow cuts longer tags


@dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    Parameters
    ----------
    name, version : str
        The version that is champion now.
    previous : str or None
        The version it follows.
    gates : tuple of Gate
        All passed.
    """

    name: str
    version: str
    previous: str | None
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Rollback:
    """What a rollback did.

    Parameters
    ----------
    name, version : str
        The version that is champion again.
    left : str
        The version it was taken from.
    """

    name: str
    version: str
    left: str


def promote(
    store: Store,
    version: str,
    *,
    approved_by: str,
    name: str | None = None,
    config: Path | None = None,
    report: Path | None = None,
) -> Promotion:
    """Make a registered version champion if every gate holds; the result of each becomes a tag of the version.

    Parameters
    ----------
    store : Store
        Opened store.
    version : str
        Number of the version.
    approved_by : str
        Who answers for it.
    name : str, optional
        Registered model; may be left out where there is one only.
    config : Path, optional
        Experiment file that names the log to compare on (which may have grown since) and the accounts. The run's own
        experiment where not given; one that learnt from files needs it, as paths start there.
    report : Path, optional
        The report's payload (``report.json``), where it was written anew; the run's own where not given.

    Returns
    -------
    Promotion

    Raises
    ------
    PromotionRefusedError
        With a line for each gate that does not hold. The aliases stay as they are.
    ConfigurationError
        Where there is no such version, or nothing to compare on.
    """
    who = _one_line(approved_by, "--approved-by")
    experiment = None if config is None else read_experiment(config)
    model_name = name or (_only_model(store) if experiment is None else store.model_name(experiment.name))
    run_id, tags = _version(store, model_name, version)
    if experiment is None:
        experiment = _experiment_of(store, run_id)
    aliases = _aliases(store, model_name)
    held = aliases.get(CHAMPION)
    challenger = load(fetch(store, model_name, version)[0])
    champion = None if held is None or held == version else load(fetch(store, model_name, held)[0])
    data = read_data(experiment, challenger.strategy, Path() if config is None else config.parent)
    found = promotion_gates(
        challenger,
        champion,
        data.log,
        accounts=data.tonight(experiment),
        capacity=data.capacity,
        as_of=data.as_of(experiment),
        report=_payload(store, run_id) if report is None else _read_payload(report),
        anchor=tags.get("report_payload_sha256") if report is None else None,
        approved_by=who,
        rules=store.config.gates,
    )
    failed, now = [g for g in found if not g.passed], _now()
    told = {f"gate.{g.name.replace(' ', '_')}": f"{'passed' if g.passed else 'failed'}: {g.found}"[:TEXT] for g in found}
    told |= {
        "gates": "failed" if failed else "passed",
        "gates_at": now,
        "gates_against": f"version {held}" if champion is not None else "logged decisions",
        "gates_log_digest": data.log.digest(),
        "gates_asked_by": who,
    }
    _tag(store, model_name, version, told)
    if failed:
        lines = [f"{g.name}: {g.found}; needed: {g.requirement}" for g in failed]
        raise PromotionRefusedError(
            "\n".join(
                [f"version {version} of {model_name} is not promoted; {len(failed)} of {len(found)} gates fail", *lines]
            )
        )
    _tag(
        store,
        model_name,
        version,
        {"approved_by": who, "promoted_at": now} | ({"follows": held} if champion and held else {}),
    )
    _note(
        store, model_name, {"what": "promotion", "from": held, "to": version, "who": who, "when": now, "why": "gates passed"}
    )
    previous = held if champion is not None else aliases.get(store.config.aliases.previous)
    with mlflow_quiet(), asking(store.uri):
        if champion is not None:  # this one first: stopped between the two, the champion is still the old one
            store.client.set_registered_model_alias(model_name, store.config.aliases.previous, held)
        store.client.set_registered_model_alias(model_name, CHAMPION, version)
        if aliases.get(store.config.aliases.later) == version and store.config.aliases.later != CHAMPION:
            store.client.delete_registered_model_alias(model_name, store.config.aliases.later)
    return Promotion(model_name, version, previous, tuple(found))


def roll_back(store: Store, *, by: str, why: str, name: str | None = None) -> Rollback:
    """Make the champion before the present one champion again.

    Parameters
    ----------
    store : Store
        Opened store.
    by, why : str
        Written down with the date.
    name : str, optional
        Registered model; may be left out where there is one only.

    Returns
    -------
    Rollback

    Raises
    ------
    ConfigurationError
        Where there is no champion before the present one.
    """
    who, reason = _one_line(by, "--by"), _one_line(why, "--why")
    model_name = name or _only_model(store)
    aliases, former = _aliases(store, model_name), store.config.aliases.previous
    left, back = aliases.get(CHAMPION), aliases.get(former)
    if left is None or back is None or left == back:
        raise ConfigurationError(f"{model_name}: no version was champion before the present one; nothing is changed")
    before = _version(store, model_name, back)[1].get("follows")
    now = _now()
    _tag(store, model_name, left, {"rolled_back_by": who, "rolled_back_at": now, "rolled_back_why": reason})
    _note(store, model_name, {"what": "rollback", "from": left, "to": back, "who": who, "when": now, "why": reason})
    with mlflow_quiet(), asking(store.uri):
        store.client.set_registered_model_alias(model_name, CHAMPION, back)
        if before is None:
            store.client.delete_registered_model_alias(model_name, former)
        else:
            store.client.set_registered_model_alias(model_name, former, before)
    return Rollback(model_name, back, left)


def history(store: Store, *, name: str | None = None) -> list[dict[str, object]]:
    """Tell every promotion and rollback of a registered model.

    Parameters
    ----------
    store : Store
        Opened store.
    name : str, optional
        Registered model; may be left out where there is one only.

    Returns
    -------
    list of dict
        ``what, from, to, who, when, why``, oldest first.
    """
    model_name = name or _only_model(store)
    with mlflow_quiet(), asking(store.uri):
        tags = store.client.get_registered_model(model_name).tags
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith("event.")]


def _one_line(text: str, option: str) -> str:
    if not re.fullmatch(r"\S(.{0,198}\S)?", text.strip()):
        raise ConfigurationError(f"{option}: one line of 1 to 200 characters is needed")
    return text.strip()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _only_model(store: Store) -> str:
    prefix = store.config.registered_model_prefix
    with mlflow_quiet(), asking(store.uri):
        found = sorted(m.name for m in store.client.search_registered_models() if m.name.startswith(prefix))
    if len(found) != 1:
        what = f"holds {', '.join(found)}: say which by --name" if found else "holds no registered model"
        raise ConfigurationError(f"the registry {what}")
    return found[0]


def _version(store: Store, name: str, version: str) -> tuple[str, Mapping[str, str]]:
    """Give a version's run and the tags of both, the version's own counting."""
    with mlflow_quiet(), asking(store.uri, f"{name} has no version {version}"):
        held = store.client.get_model_version(name, version)
        run = store.client.get_run(held.run_id)
    return str(held.run_id), {**run.data.tags, **held.tags}


def _aliases(store: Store, name: str) -> dict[str, str]:
    with mlflow_quiet(), asking(store.uri, f"the registry holds no model {name}"):
        return {k: str(v) for k, v in store.client.get_registered_model(name).aliases.items()}


def _experiment_of(store: Store, run_id: str) -> Experiment:
    content = _artifact(store, run_id, "experiment.json")
    if content is None:
        raise ConfigurationError("the run does not hold its experiment: say --config experiments/X.yaml")
    experiment = parse(Experiment, cast("dict[str, Any]", content), source="experiment.json of the run")
    if experiment.data.source == "files":
        raise ConfigurationError("the version learnt from files: say --config experiments/X.yaml, where their paths start")
    return experiment


def _payload(store: Store, run_id: str) -> Mapping[str, object] | None:
    return _artifact(store, run_id, "report/report.json")


def _read_payload(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: no payload of a report (report.json) can be read there")
    return content


def _artifact(store: Store, run_id: str, path: str) -> dict[str, object] | None:
    """Read a JSON artifact of a run; None where there is none."""
    with mlflow_quiet(), asking(store.uri):
        folder = path.rpartition("/")[0] or None
        if path not in {f.path for f in store.client.list_artifacts(run_id, folder)}:
            return None
        import mlflow

        text = mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")
    content = json.loads(text)
    return content if isinstance(content, dict) else None


def _tag(store: Store, name: str, version: str, tags: Mapping[str, str]) -> None:
    with mlflow_quiet(), asking(store.uri):
        for key, value in tags.items():
            store.client.set_model_version_tag(name, version, key, value)


def _note(store: Store, name: str, event: Mapping[str, object]) -> None:
    with mlflow_quiet(), asking(store.uri):
        store.client.set_registered_model_tag(name, f"event.{event['when']}".replace(":", "."), json.dumps(event))
