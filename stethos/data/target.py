"""What a model is to predict, as a user writes it: `potassium > 5.5`, `scp_codes has AFIB`, `lvef`.

The expression is parsed, never evaluated.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stethos.errors import RecipeError
from stethos.types import Cohort

_COMPARE: dict[str, Callable] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_COLUMN = r"(?P<column>[^\W\d][\w.\-/%() ]*?)"
_COMPARISON = re.compile(rf"{_COLUMN}\s*(?P<relation>>=|<=|==|!=|>|<)\s*(?P<value>[^<>=!]+)")
_TOKENS = re.compile(rf"{_COLUMN}\s+(?P<relation>has|in)\s+(?P<value>\S.*)")
_BARE = re.compile(_COLUMN)
_FORMS = "`potassium > 5.5`, `rhythm == A`, `scp_codes has AFIB`, `rhythm in A,O` or a column's name"


@dataclass(frozen=True)
class Target:
    """A parsed target.

    Args:
        column: Which column it is about.
        relation: ">", ">=", "<", "<=", "==", "!=", "has", "in", or "" for the column as it is.
        value: What it is compared with, as written; items of a list are separated by commas.
        text: The whole expression, as written.
    """

    column: str
    relation: str
    value: str
    text: str

    @property
    def graded(self) -> bool:
        """Whether it is a column as it is, measured or 0 and 1, and no condition on it."""
        return self.relation == ""

    def binary(self, cohort: Cohort) -> bool:
        """Whether every known value in a cohort is 0 or 1."""
        values = self.apply(cohort)
        return bool(np.isin(values[~np.isnan(values)], (0, 1)).all())

    def apply(self, cohort: Cohort) -> np.ndarray:
        """The target of every record: 1 where the condition holds, 0 where not, NaN where unknown, `(N,)`.

        Raises:
            CohortError: The cohort has no such column.
            RecipeError: The column's values cannot be compared in this way.
        """
        column = cohort.column(self.column)
        if column.dtype.kind == "M":
            raise RecipeError(f"target `{self.text}`: column {self.column} holds dates; split by time instead")
        if column.dtype.kind == "f":
            return self._of_numbers(column.astype(np.float64))
        return self._of_words(column)

    def _of_numbers(self, column: np.ndarray) -> np.ndarray:
        if self.graded:
            return column
        if self.relation == "has":
            raise RecipeError(f"target `{self.text}`: column {self.column} holds numbers; compare it with one")
        if self.relation == "in":
            holds = np.isin(column, [self._number(item) for item in self._items()])
        else:
            holds = _COMPARE[self.relation](column, self._number(self.value))
        return np.where(np.isnan(column), np.nan, holds)

    def _of_words(self, column: np.ndarray) -> np.ndarray:
        if self.relation not in ("has", "in", "==", "!="):
            held = sorted({str(item) for item in column if item is not None})
            shown = ", ".join(held[:5]) + (" …" if len(held) > 5 else "")
            raise RecipeError(
                f"target `{self.text}`: column {self.column} holds words ({shown}), not numbers; "
                f"use `{self.column} == {(held or ['word'])[0]}`, `in` or `has`"
            )
        return np.array([np.nan if cell is None else float(self._holds(str(cell))) for cell in column])

    def _holds(self, cell: str) -> bool:
        if self.relation == "has":
            return self.value in tokens(cell)
        if self.relation == "in":
            return cell in self._items()
        return bool(_COMPARE[self.relation](cell, self.value))

    def _items(self) -> list[str]:
        return [_unquoted(item) for item in self.value.split(",")]

    def _number(self, item: str) -> float:
        try:
            return float(item)
        except ValueError:
            raise RecipeError(f"target `{self.text}`: column {self.column} holds numbers; {item!r} is none") from None


def parse_target(text: str) -> Target:
    """Read a target expression.

    Args:
        text: `column > number` (also `>=`, `<`, `<=`, `==`, `!=`), `column == word`, `column has TOKEN` (a
            code in a list), `column in A,B`, or a column's name.

    Raises:
        RecipeError: It is none of these.
    """
    clean = text.strip()
    for form in (_COMPARISON, _TOKENS, _BARE):
        match = form.fullmatch(clean)
        if match:
            parts = match.groupdict()
            return Target(parts["column"], parts.get("relation", ""), _unquoted(parts.get("value", "")), clean)
    raise RecipeError(f"target {text!r} cannot be read; needs {_FORMS}")


def tokens(cell: str) -> set[str]:
    """Codes of a cell: separated by space, comma or semicolon, or the keys of `{'NORM': 100.0}`."""
    if cell.startswith("{"):
        return set(re.findall(r"['\"]([^'\"]+)['\"]\s*:", cell))
    return set(re.split(r"[\s,;]+", cell.strip()))


def _unquoted(word: str) -> str:
    return word.strip().strip("'\"")
