"""The folder a training leaves behind: one recipe, one writer."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from stethos.errors import RunError
from stethos.io.files import write_atomic
from stethos.train.dist import chief
from stethos.types import Estimate, Origin, Run

_PACKAGES = (
    "stethos",
    "torch",
    "numpy",
    "scipy",
    "safetensors",
    "scikit-learn",
    "polars",
    "wfdb",
)


def start_run(folder: Path, config: Mapping[str, Any]) -> Run:
    """Make a run's folder, or come back to it with the same recipe.

    Args:
        folder: Made where it is missing.
        config: `{system, version, recipe, prepare, origin, terms}`, of plain values. All but the version must
            be the same when the folder is come back to.

    Raises:
        RunError: The folder belongs to another recipe, or cannot be made.
    """
    run = Run(Path(folder))
    if chief():
        plain = json.loads(json.dumps(config))
        if run.config.exists():
            _refuse_another(run, plain)
        try:
            run.private.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise RunError(f"{run.folder}: a run's folder cannot be made ({why}); name another one") from error
        run.private.chmod(0o700)  # per-record data; mkdir's own mode is subject to the umask
        if not run.config.exists():
            _write_json(run.config, plain)
        _write_json(run.environment, _environment(run))
    return run


def read_config(run: Run) -> dict[str, Any]:
    """What `start_run` was given.

    Raises:
        RunError: The folder is not a run's.
    """
    if not run.config.exists():
        raise RunError(f"{run.folder} holds no config.json; name the folder of a run")
    return _read_json(run.config)


def write_metrics(run: Run, estimates: Mapping[str, Estimate], origin: Origin) -> None:
    """Add numbers to `metrics.json`; one of the same name is replaced.

    Args:
        run: Where to.
        estimates: Dotted name, such as "internal.auroc", → number.
        origin: Of the records that the numbers rest on.
    """
    if chief():
        held = _read_json(run.metrics) if run.metrics.exists() else {}
        new = {name: _metric(estimate, origin) for name, estimate in estimates.items()}
        _write_json(run.metrics, dict(sorted({**held, **new}.items())))


def write_card(run: Run, text: str) -> None:
    """Write the model card, in Markdown."""
    if chief():
        write_atomic(run.card, text.encode())


@contextlib.contextmanager
def sole_writer(run: Run) -> Iterator[None]:
    """Within it no other process trains in the folder.

    The lock is the operating system's, so it ends with the process, however that ends; the file that it lies
    on only tells whose it is. Where there is no such lock (Windows, some network drives) nothing is kept out.

    Raises:
        RunError: Another process is at it.
    """
    if not chief():
        yield
        return
    run.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(run.private / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(file, run)
        os.truncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        _unlock(file)
        os.close(file)


def _lock(file: int, run: Run) -> None:
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(file, 20).decode().strip() or "unknown"
        raise RunError(f"process {owner} trains in {run.folder}; wait for it, or name another folder") from error
    except (ImportError, OSError):
        return


def _unlock(file: int) -> None:
    """Closing is not enough while a child process that was forked meanwhile still holds the file."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)


def _refuse_another(run: Run, config: dict[str, Any]) -> None:
    old, new = _flat(read_config(run)), _flat(config)
    names = [name for name in {**old, **new} if name != "version" and old.get(name) != new.get(name)]
    if names:
        changes = "; ".join(f"{name}: {_shown(old, name)} → {_shown(new, name)}" for name in names)
        raise RunError(
            f"{run.folder} holds a run of another recipe ({changes}); name another folder or undo the change"
        )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Dotted name → plain value; an empty object stands for itself."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    parts = [_flat(item, f"{name}.{key}" if name else key) for key, item in value.items()]
    return {key: item for part in parts for key, item in part.items()}


def _shown(values: dict[str, Any], name: str) -> str:
    return json.dumps(values[name], ensure_ascii=False) if name in values else "absent"


def _metric(estimate: Estimate, origin: Origin) -> dict[str, float | int | str | None]:
    numbers = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    finite = {name: float(number) if math.isfinite(number) else None for name, number in numbers.items()}
    return {**finite, "n": int(estimate.n), "origin": origin}


def _environment(run: Run) -> dict[str, Any]:
    """What the run is made with; every start is kept, the rest is the last one's."""
    before = _read_json(run.environment)["started"] if run.environment.exists() else []
    return {
        "started": [*before, datetime.now(UTC).isoformat(timespec="seconds")],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); restore it, or name another folder") from error


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
