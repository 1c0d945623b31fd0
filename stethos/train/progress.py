"""What a training says while it runs: rows in `log.jsonl`, and a bar or plain lines for people."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import final

from stethos.errors import RunError
from stethos.io.files import write_atomic
from stethos.train.dist import chief

Row = Mapping[str, float]


@final
class Narrator:
    """Writes the rows of one stage, and tells people.

    Rows hold no times: the same recipe and seed give the same file, interrupted or not.

    Args:
        path: `log.jsonl`.
        stage: Name that every row carries; "" for none.
        steps: Of the whole stage.
        step: Steps already made; later rows in the file are those of a training that was cut off, and go.
    """

    def __init__(self, path: Path, stage: str, steps: int, step: int) -> None:
        self.path, self.stage, self.steps, self.step = path, stage, steps, step
        self.monitor = ""
        self._show: Callable[[int, str], None] | None = None
        if chief():
            self._drop_later_rows()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """A bar while this lasts, if somebody watches."""
        if not (chief() and sys.stderr.isatty()):
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(self.stage or "train", total=self.steps, completed=self.step)
            self._show = lambda step, text: bar.update(task, completed=step, description=text)
            yield

    def tell(self, row: Row, looked: Mapping[str, float] | None, write: bool) -> None:
        """Report a step.

        Args:
            row: Its numbers; "step" and "loss" among them.
            looked: What validation gave after it; None where it was not asked.
            write: Whether the step's numbers go into the file; validation's always do.

        Raises:
            RunError: The file cannot be written.
        """
        if not chief():
            return
        found = {f"valid.{name}": value for name, value in (looked or {}).items()}
        if looked:
            self.monitor = f" monitor {looked['monitor']:.4g}"
        if self._show:
            self._show(int(row["step"]), f"{self.stage or 'train'} loss {row['loss']:.4g}{self.monitor}")
        if write or found:
            self._write({**row, **found})

    def _write(self, row: Row) -> None:
        named = {"stage": self.stage, **row} if self.stage else row
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({k: _jsonable(v) for k, v in named.items()}) + "\n")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written ({error.strerror}); free space and run it again") from error
        if not self._show:
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            logging.getLogger("stethos").info(
                "%s step %d of %d  %s", self.stage or "train", row["step"], self.steps, numbers
            )

    def _drop_later_rows(self) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if self._keeps(line)]
        if len(kept) < len(lines):
            write_atomic(self.path, "".join(f"{line}\n" for line in kept).encode())

    def _keeps(self, line: str) -> bool:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the last line of a process that was killed while it wrote
            return False
        return row.get("stage", "") != self.stage or row["step"] <= self.step


def _jsonable(value: object) -> object:
    """JSON knows no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
