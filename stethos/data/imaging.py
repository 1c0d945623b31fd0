"""A simulated imaging department on disk: WFDB, NIfTI, label maps, and the table that joins them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from stethos.data.parallel import Progress, each_record
from stethos.data.write import claim, digest, write_table
from stethos.errors import CohortError
from stethos.io.nifti import write_labels, write_nifti
from stethos.io.wfdb import write_wfdb
from stethos.synth import Examination, department
from stethos.synth.world import World
from stethos.types import Record

_PER_FOLDER = 1000


def write_department(
    folder: Path, patients: int, seed: int, world: World, form: tuple[int, int, str], progress: Progress | None = None
) -> Path:
    """Simulate a department and write it; a repeated call goes on where it was stopped.

    Args:
        folder: Made if missing.
        patients: How many.
        seed: Of everything drawn.
        world: A world of cines.
        form: Pixels, frames and view of the cines.
        progress: Called with (records done, records in all).

    Returns:
        The `cohort.csv`.

    Raises:
        CohortError: The folder holds another department, or a record could not be written.
        FormatError: The disk is full.
    """
    folder = Path(folder).absolute()
    about = {"patients": patients, "seed": seed, "world": world.name, "constants": digest(world), "form": list(form)}
    claim(folder / "department.json", about)
    size, frames, view = form
    cohort = department(patients, seed, world, size, frames, view)
    stems = [folder / f"records/{row // _PER_FOLDER:05d}/{name}" for row, name in enumerate(cohort.rows["id"].tolist())]
    place = {name: (row, stem) for row, (name, stem) in enumerate(zip(cohort.rows["id"].tolist(), stems, strict=True))}
    rest = [row for row, stem in enumerate(stems) if not stem.with_suffix(".hea").exists()]
    assert isinstance(cohort.open, Examination)
    ecgs = replace(cohort, open=cohort.open.without_cine)
    for outcome in each_record(ecgs, partial(_write, opener=cohort.open, place=place), rest, None, progress):
        if outcome.reason:
            raise CohortError(f"{cohort.rows['id'][outcome.row]} cannot be written: {outcome.reason}")
    names = {"path": ".hea", "cine": ".cine.nii", "labels": ".labels.nii"}
    paths = {name: np.array([f"{stem}{end}" for stem in stems], dtype=object) for name, end in names.items()}
    for name in ("cine", "labels"):
        paths[name] = np.array([str(Path(item).relative_to(folder)) for item in paths[name]], dtype=object)
    return write_table(cohort.with_columns(view=np.full(patients, view, dtype=object), **paths), folder)


def _write(record: Record, opener: Examination, place: dict[str, tuple[int, Path]]) -> None:
    """The header last: it means that the examination is whole."""
    row, stem = place[record.id]
    volume, labels = opener.pictures(row)
    write_nifti(Path(f"{stem}.cine.nii"), volume, record.origin)
    write_labels(Path(f"{stem}.labels.nii"), labels[:, None], volume.spacing)
    write_wfdb(record, stem.parent, stem.name)
