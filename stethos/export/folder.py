"""The folder that a device gets: graphs, what a reader must know of them, what they cost, how near they are to Python.

It is written beside its place and moved there only if it answers as the run does; an earlier export stays otherwise.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from stethos.errors import RunError
from stethos.export.cost import cost
from stethos.export.graph import composed, library, write_metadata
from stethos.export.parity import LIMITS, HeldOut, ParityError, compared, measured, suspect
from stethos.export.quantise import half, mixed
from stethos.export.score import blocks_of, session

if TYPE_CHECKING:
    from onnx import ModelProto

GRAPHS = ("prepare", "score", "model")


@dataclass(frozen=True, eq=False)
class Parts:
    """What an export is made of.

    Args:
        prepare: From `prepare_graph`.
        score: From `score_graph`, in its final precision.
        facts: What a reader needs, as JSON holds it: "precision", "threshold" and the rest.
        record: What was tried to reach that precision; part of parity.json.
    """

    prepare: ModelProto
    score: ModelProto
    facts: Mapping[str, Any]
    record: Mapping[str, Any]


def deliver(parts: Parts, held: HeldOut, model: nn.Module, out: Path) -> Path:
    """Write an export if it answers as the run does.

    Args:
        parts: Graphs and facts.
        held: Recordings held out from training, and what Python says of them.
        model: The network, with `score`.
        out: The folder; an earlier export there is replaced.

    Raises:
        ParityError: The answers differ by more than the precision allows; nothing is written.
        RunError: The folder holds something else.
    """
    out, limits = Path(out), LIMITS[parts.facts["precision"]]
    with delivery(out) as folder:
        _write(parts, folder)
        parity = measured(folder, held, limits)
        wrong = parity.failures(limits)
        if wrong:
            raise ParityError(
                f"{out}: the {parts.facts['precision']} export does not answer as its run on {parity.records} held-out "
                f"recordings ({'; '.join(wrong)}), and the first to differ is {suspect(folder, held, model, limits)}; "
                f"nothing was written: {advice(parts.facts['precision'])}"
            )
        write_json(folder / "parity.json", parity.facts(limits) | dict(parts.record))
    return out


def reduced(
    score: ModelProto, precision: str, held: HeldOut, model: nn.Module, calibration: np.ndarray
) -> tuple[ModelProto, dict[str, Any]]:
    """A network's graph in the asked precision, and what was tried.

    With integers, blocks that move the logits much are left in float32, as `mixed` has it.

    Args:
        score: In float32.
        precision: "fp32", "fp16" or "int8".
        held: What the answers are compared on.
        model: The network.
        calibration: Prepared windows for the scales of integers, `(W, C, T)`.
    """
    if precision == "fp32":
        return score, {}
    if precision == "fp16":
        return half(score), {}
    return mixed(score, calibration, list(blocks_of(model)), lambda small: bool(_too_far(small, held)))


def _too_far(score: ModelProto, held: HeldOut) -> list[str]:
    (logit,) = session(score).run(None, {"x": held.x})
    limits = LIMITS["int8"]
    return compared(held, logit, held.thresholds, limits.near).failures(limits)


def _write(parts: Parts, folder: Path) -> None:
    """Everything but parity.json."""
    graphs = dict(zip(GRAPHS, (parts.prepare, parts.score, composed(parts.prepare, parts.score)), strict=True))
    for name, graph in graphs.items():
        write_metadata(graph, parts.facts)
        library().save(graph, str(folder / f"{name}.onnx"))
    write_json(folder / "export.json", parts.facts)
    (folder / "run.py").write_text(files("stethos.export").joinpath("run_alone.py").read_text("utf-8"), "utf-8")
    write_json(folder / "cost.json", _costs(graphs, folder))


def _costs(graphs: Mapping[str, ModelProto], folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = {name: asdict(cost(graph)) for name, graph in graphs.items()}
    return told | {"bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())}}


def advice(precision: str) -> str:
    """What to do where an export is refused."""
    if precision == "fp32":
        return "this version cannot export this run"
    return "take --precision fp32, or a narrower network"


def _refuse_other(out: Path) -> None:
    if out.exists() and not (out / "export.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} holds something else than an export; name another folder")


@contextlib.contextmanager
def delivery(out: Path) -> Iterator[Path]:
    """A folder to write an export into, which takes its place if nothing is raised; otherwise nothing is left.

    Args:
        out: The place; an earlier export there is replaced.

    Raises:
        RunError: The place holds something else.
    """
    _refuse_other(out)
    with _beside(out) as folder:
        yield folder
        _move(folder, out)


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder next to another, gone at the end if it was not moved."""
    folder = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{out}: the folder cannot be made ({error.strerror}); name another one") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, out: Path) -> None:
    old = folder.with_suffix(".old")
    if out.exists():
        out.replace(old)
    folder.replace(out)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """JSON for people too; NaN is refused."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
