"""Eligibility: expressions over account fields, parsed to a safe tree and read in three values (true, false, unknown).

An expression is a small part of Python's syntax (names, constants, comparisons, arithmetic, ``and or not in``), parsed by
``ast`` and walked by us: nothing is ever evaluated as code. Unknown never allows: a missing field, or a missing value in
it, denies.
"""

from __future__ import annotations

import ast
import datetime
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError

__all__ = ["Expression", "OneAccount"]

MAX_LENGTH = 2_000
MAX_DEPTH = 40

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.BinOp),
    *(ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.In, ast.NotIn, *_COMPARE, *_ARITHMETIC),
)

Accounts: TypeAlias = "pd.DataFrame | OneAccount"
Kind = Literal["bool", "number", "text", "date"]


_KNOWN = np.array([True])
_KNOWN.setflags(write=False)


@dataclass(frozen=True)
class _Value:
    """A column or constant on its way up the tree: what it is, and where it is known."""

    data: Any
    known: NDArray[np.bool_] | bool
    kind: Kind


@dataclass(frozen=True)
class Expression:
    """A condition on account fields.

    Parameters
    ----------
    source : str
        The condition, such as ``"has_mobile and consent_sms and not optout_sms"`` or ``"balance >= 50"``.

    Raises
    ------
    ConfigurationError
        Where the text is no expression of the allowed kind; it says what is not allowed and at which column.

    Notes
    -----
    Kleene's three-valued logic: ``unknown or true`` is true, ``unknown and false`` is false, all else with an unknown in it
    is unknown; a comparison with an unknown is unknown. :meth:`allows` is true only where the whole is true.

    Examples
    --------
    >>> import pandas as pd
    >>> accounts = pd.DataFrame({"balance": [10.0, 900.0, None], "dispute": [False, False, False]})
    >>> Expression("balance > 50 and not dispute").allows(accounts).tolist()
    [False, True, False]
    >>> Expression("not attorney").allows(accounts).tolist()  # the field is missing: denied
    [False, False, False]
    """

    source: str

    def __post_init__(self) -> None:
        _parse(self.source)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the account fields the condition reads, in order of appearance."""
        nodes = [n for n in ast.walk(_parse(self.source)) if isinstance(n, ast.Name)]
        return tuple(dict.fromkeys(n.id for n in sorted(nodes, key=lambda n: (n.lineno, n.col_offset))))

    def missing_fields(self, accounts: Accounts) -> tuple[str, ...]:
        """Name the fields the condition reads that the frame does not have.

        Parameters
        ----------
        accounts : DataFrame
            Account snapshot.

        Returns
        -------
        tuple of str
        """
        return tuple(f for f in self.fields if f not in accounts.columns)

    def allows(self, accounts: Accounts) -> NDArray[np.bool_]:
        """Say for each account whether the condition is known to be true.

        Parameters
        ----------
        accounts : DataFrame, n rows, or OneAccount
            Account snapshot.

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        ConfigurationError
            Where kinds do not fit, such as text compared with a number.
        """
        true, _ = _truth(_evaluate(_parse(self.source), accounts, self.source), self.source)
        out = np.empty(len(accounts), dtype=bool)
        out[...] = true
        return out


def _depth(node: ast.AST) -> int:
    """Measure nesting without recursion, so that a hostile text cannot exhaust the stack."""
    deepest, stack = 0, [(node, 1)]
    while stack:
        current, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(current))
    return deepest


@lru_cache(maxsize=4_096)
def _parse(source: str) -> ast.expr:
    if not source.strip() or len(source) > MAX_LENGTH:
        raise ConfigurationError(f"a condition needs between 1 and {MAX_LENGTH:,} characters, got {len(source):,}")
    try:
        # Python warns of `1 in 2` and the like while parsing; those are refused below or when evaluated
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at column {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ConfigurationError(f"condition {source[:80]!r} cannot be read{where}") from None
    if _depth(tree) > MAX_DEPTH:
        raise ConfigurationError(f"condition {source[:80]!r} is nested deeper than {MAX_DEPTH}")
    for node in ast.walk(tree):
        constant = isinstance(node, ast.Constant) and not isinstance(node.value, (bool, int, float, str))
        if not isinstance(node, _ALLOWED) or constant:
            column = getattr(node, "col_offset", 0) + 1
            raise ConfigurationError(
                f"condition {source[:80]!r}: {type(node).__name__} at column {column} is not allowed; use field names, "
                "numbers, 'text', True, False, comparisons, + - * /, and, or, not, in [...]"
            )
    return tree.body


class OneAccount:
    """A single account as conditions read it, without the cost of a frame around it.

    Parameters
    ----------
    fields : mapping of str to scalar
        By name; None and NaN are missing.

    Examples
    --------
    >>> Expression("balance > 50 and not dispute").allows(OneAccount({"balance": 900, "dispute": False})).tolist()
    [True]
    """

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __len__(self) -> int:
        return 1

    @property
    def columns(self) -> Collection[str]:
        """Names of the fields."""
        return self._fields.keys()

    def __getitem__(self, name: str) -> pd.Series:
        return pd.Series([self._fields[name]], name=name)

    def value(self, name: str) -> _Value:
        """Read one field as a condition does; a missing one is unknown."""
        value = self._fields.get(name)
        if isinstance(value, (bool, np.bool_)):
            return _Value(np.array([bool(value)]), _KNOWN, "bool")
        if isinstance(value, str):
            return _Value(np.array([value], dtype=object), _KNOWN, "text")
        if isinstance(value, (int, float, np.number)) and value == value:
            return _Value(np.array([float(value)]), _KNOWN, "number")
        if isinstance(value, (datetime.date, np.datetime64)) and value == value:
            return _Value(np.array([np.datetime64(value)]), _KNOWN, "date")
        return _Value(~_KNOWN, ~_KNOWN, "bool")


def _column(name: str, accounts: Accounts) -> _Value:
    if isinstance(accounts, OneAccount):
        return accounts.value(name)
    if name not in accounts.columns:
        return _Value(np.zeros(len(accounts), dtype=bool), np.zeros(len(accounts), dtype=bool), "bool")
    series = accounts[name]
    known = series.notna().to_numpy(dtype=bool)
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) == "boolean":
        series = series.astype("boolean")  # flags read with gaps in them
    if pd.api.types.is_bool_dtype(series.dtype):
        return _Value(series.fillna(False).to_numpy(dtype=bool), known, "bool")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _Value(series.to_numpy(dtype=float, na_value=np.nan), known, "number")
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _Value(series.to_numpy(), known, "date")
    return _Value(series.astype(object).where(series.notna(), "").to_numpy(dtype=object), known, "text")


def _constant(value: bool | int | float | str) -> _Value:
    if isinstance(value, bool):
        return _Value(value, True, "bool")
    return _Value(value, True, "text" if isinstance(value, str) else "number")


def _mismatch(source: str, left: _Value, right: _Value) -> ConfigurationError:
    return ConfigurationError(f"condition {source!r} compares {left.kind} with {right.kind}")


def _harmonise(left: _Value, right: _Value, source: str) -> tuple[_Value, _Value]:
    """Bring two sides to one kind: 0/1 columns meet True/False, ISO dates in quotes meet dates."""
    if left.kind == right.kind:
        return left, right
    kinds = {left.kind, right.kind}
    if kinds == {"bool", "number"}:
        return left, right
    if kinds == {"date", "text"}:
        text = left if left.kind == "text" else right
        if isinstance(text.data, str):
            try:
                date = _Value(np.datetime64(text.data), True, "date")
            except ValueError:
                raise ConfigurationError(f"condition {source!r}: {text.data!r} is no date (YYYY-MM-DD)") from None
            return (date, right) if text is left else (left, date)
    # a field the frame does not have is unknown of no kind; it meets anything and stays unknown
    if not np.any(left.known) or not np.any(right.known):
        return (left, left) if not np.any(left.known) else (right, right)
    raise _mismatch(source, left, right)


def _compare(op: ast.cmpop, left: _Value, right: _Value, source: str) -> _Value:
    known = np.asarray(left.known) & np.asarray(right.known)
    left, right = _harmonise(left, right, source)
    with np.errstate(invalid="ignore"):
        result = _COMPARE[type(op)](left.data, right.data)
    return _Value(np.asarray(result, dtype=bool), known, "bool")


def _member(op: ast.cmpop, left: _Value, options: ast.expr, accounts: Accounts, source: str) -> _Value:
    if not isinstance(options, (ast.List, ast.Tuple)):
        raise ConfigurationError(f"condition {source!r}: 'in' needs a list such as ['A', 'B']")
    found = np.zeros(np.shape(left.data), dtype=bool)
    for option in options.elts:
        found = found | _compare(ast.Eq(), left, _evaluate(option, accounts, source), source).data
    return _Value(~found if isinstance(op, ast.NotIn) else found, left.known, "bool")


def _comparison(node: ast.Compare, accounts: Accounts, source: str) -> _Value:
    left = _evaluate(node.left, accounts, source)
    total = _Value(True, True, "bool")
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, (ast.In, ast.NotIn)):
            total = _and(total, _member(op, left, right_node, accounts, source))
        else:
            right = _evaluate(right_node, accounts, source)
            total = _and(total, _compare(op, left, right, source))
            left = right
    return total


def _truth(value: _Value, source: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split into (known true, known false); a 0/1 number column reads as a flag."""
    if value.kind not in ("bool", "number"):
        raise ConfigurationError(f"condition {source!r} uses {value.kind} as a yes-or-no: compare it with something")
    known = np.asarray(value.known)
    data = np.asarray(value.data != 0)
    return data & known, ~data & known


def _and(left: _Value, right: _Value, source: str = "") -> _Value:
    (lt, lf), (rt, rf) = _truth(left, source), _truth(right, source)
    true, false = lt & rt, lf | rf
    return _Value(true, true | false, "bool")


def _or(left: _Value, right: _Value, source: str) -> _Value:
    (lt, lf), (rt, rf) = _truth(left, source), _truth(right, source)
    true, false = lt | rt, lf & rf
    return _Value(true, true | false, "bool")


def _arithmetic(node: ast.BinOp, accounts: Accounts, source: str) -> _Value:
    left, right = _evaluate(node.left, accounts, source), _evaluate(node.right, accounts, source)
    for side in (left, right):
        if side.kind not in ("number", "bool"):
            raise ConfigurationError(f"condition {source!r} calculates with {side.kind}")
    with np.errstate(divide="ignore", invalid="ignore"):
        data = _ARITHMETIC[type(node.op)](np.asarray(left.data, dtype=float), np.asarray(right.data, dtype=float))
    return _Value(data, np.asarray(left.known) & np.asarray(right.known) & np.isfinite(data), "number")


def _evaluate(node: ast.expr, accounts: Accounts, source: str) -> _Value:
    match node:
        case ast.Constant():
            assert isinstance(node.value, (bool, int, float, str))  # noqa: S101  (_parse let nothing else through)
            return _constant(node.value)
        case ast.Name():
            return _column(node.id, accounts)
        case ast.Compare():
            return _comparison(node, accounts, source)
        case ast.BoolOp():
            join = _and if isinstance(node.op, ast.And) else _or
            total = _evaluate(node.values[0], accounts, source)
            for value in node.values[1:]:
                total = join(total, _evaluate(value, accounts, source), source)
            return total
        case ast.UnaryOp(op=ast.Not()):
            true, false = _truth(_evaluate(node.operand, accounts, source), source)
            return _Value(false, true | false, "bool")
        case ast.UnaryOp():  # the minus sign
            return _arithmetic(ast.BinOp(ast.Constant(0), ast.Sub(), node.operand), accounts, source)
        case ast.BinOp():
            return _arithmetic(node, accounts, source)
    raise ConfigurationError(f"condition {source!r}: a list stands where a value belongs")
