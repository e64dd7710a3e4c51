"""Reading files people write: YAML without repeated keys, faults all at once, a misspelt key with its nearest neighbour."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from collectml.errors import ConfigurationError

__all__ = ["nearest", "parse", "read_yaml"]

M = TypeVar("M", bound=BaseModel)
LIMIT_KINDS = {"budget", "capacity", "share", "complaints", "fairness", "placement"}


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key written twice, which YAML itself would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping, refusing repeated keys.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    ConfigurationError
        Where it is missing, unreadable, no YAML or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else (error.strerror or "cannot be read")
        raise ConfigurationError(f"{path}: {reason}") from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  (a subclass of the safe loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(
            f"{path}{where}: no valid YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        raise ConfigurationError(f"{path}: the top of the file must be a mapping of names to values")
    return content


def parse(model: type[M], content: Mapping[str, Any], *, source: str) -> M:
    """Validate content against a model, telling every fault in one error.

    Parameters
    ----------
    model : type
        A pydantic model.
    content : mapping
        As read from a file.
    source : str
        What to call it in the error.

    Returns
    -------
    object of type ``model``

    Raises
    ------
    ConfigurationError
        One line a fault, the first of them in the first line.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [_fault(model, e["loc"], e["type"], e["msg"]) for e in error.errors(include_url=False)]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigurationError("\n  ".join([f"{source}: {faults[0]}{more}", *faults[1:]])) from None


def _fault(model: type[BaseModel], location: tuple[int | str, ...], kind: str, message: str) -> str:
    # the tag of a discriminated union stands in the location, but not in the file
    path = ".".join(str(p) for p in location if p not in LIMIT_KINDS or p == location[-1])
    if kind == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(location[-1]), _keys_at(model, location[:-1]))}"
    return f"{path or 'file'}: {message.removeprefix('Value error, ')}"


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Collect the keys that the schema allows at a place, by walking its JSON schema."""
    schema: dict[str, Any] = model.model_json_schema()
    node: dict[str, Any] = schema
    for part in location:
        node = _resolve(node, schema)
        if isinstance(part, int):
            node = node.get("items", {})
        elif "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"].get(part, "")}
        else:
            node = node.get("properties", {}).get(part, {})
    return set(_resolve(node, schema).get("properties", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"].get(node["$ref"].rsplit("/", 1)[-1], {})
    for option in (*node.get("anyOf", ()), *node.get("allOf", ())):
        if "$ref" in option:
            return _resolve(option, schema)
    return node


def nearest(name: str, options: Iterable[str]) -> str:
    """Suggest what a name may have been meant to be.

    Parameters
    ----------
    name : str
        As written.
    options : iterable of str
        What is known.

    Returns
    -------
    str
        Such as ``" (did you mean 'upper'?)"``; the known names where none is near.
    """
    names = sorted(options)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else ""
