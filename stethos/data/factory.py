"""A simulated factory to disk, in the folders and names of a DCASE challenge.

dev_data/fan/train/normal_id_00_00000000.wav                            2020
dev_data/fan/train/section_00_source_train_normal_0000_vel_100.wav      2022, with attributes_00.csv
cohort.csv                                                              for `open_cohort`
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from stethos.data.parallel import Progress, each_record
from stethos.data.write import claim, digest, write_table
from stethos.errors import FormatError
from stethos.io.files import write_atomic
from stethos.io.sound import write_sound
from stethos.synth.machine import factory
from stethos.synth.plan import Plan, factory_world
from stethos.synth.world import World
from stethos.types import Cohort, Record


def write_factory(
    folder: Path,
    plan: Plan | None = None,
    seed: int = 0,
    world: World | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Simulate a factory and write it: WAV files that say they are synthetic, and the table last.

    Args:
        folder: Made if missing; a repeated call goes on where it was stopped.
        plan: Machines, numbers of clips, layout; `Plan()` where not given.
        seed: Of everything drawn.
        world: Constants and the faults that are heard; all of them where not given.
        progress: Called with (clips there, clips in all).
        workers: Processes; None for what suits the machine and the number of clips.

    Returns:
        The `cohort.csv`.

    Raises:
        CohortError: The folder holds another factory.
        FormatError: The disk is full.
    """
    folder, plan, world = Path(folder), plan or Plan(), world or factory_world()
    about = {**asdict(plan), "machines": list(plan.machines), "seed": seed}
    claim(folder / "factory.json", {**about, "world": world.name, "constants": digest(world)})
    cohort = factory(plan, seed, world)
    paths = np.array([f"{name}.wav" for name in cohort.rows["id"]], dtype=object)
    missing = [row for row, path in enumerate(paths) if not (folder / path).exists()]
    there = len(cohort) - len(missing)
    told = None if progress is None else lambda done, _: progress(there + done, len(cohort))
    for outcome in each_record(cohort, partial(_write, folder), missing, workers, told):
        if outcome.reason:
            raise FormatError(outcome.reason)
    for path, lines in _attribute_lists(cohort).items():
        write_atomic(folder / path, "".join(f"{line}\n" for line in lines).encode())
    return write_table(cohort.with_columns(path=paths), folder)


def _write(folder: Path, record: Record) -> None:
    write_sound(record, folder / f"{record.id}.wav", record.origin)


def _attribute_lists(cohort: Cohort) -> dict[str, list[str]]:
    """Each `attributes_XX.csv` with its lines: names of the clips of a section, and what its name says of each."""
    lists: dict[str, list[str]] = {}
    columns = (cohort.rows[name] for name in ("id", "machine", "section", "attributes"))
    for name, machine, section, attributes in zip(*columns, strict=True):
        if attributes is not None:
            place = f"dev_data/{machine}/attributes_{section.removeprefix('section_')}.csv"
            lines = lists.setdefault(place, ["file_name,d1p,d1v"])
            lines.append(f"{name.removeprefix('dev_data/')}.wav,{attributes.replace('_', ',', 1)}")
    return lists
