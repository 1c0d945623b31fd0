"""Who is trained on and who is tested: by subject always, by site and by date where asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.errors import SplitError
from stethos.types import Cohort, refuse_overlap


@dataclass(frozen=True)
class Partition:
    """How a cohort is divided.

    Args:
        held_out_sites: Sites never trained on; each becomes part of the "external" cohort.
        later_from: First day of the later period (YYYY-MM-DD), tested as "temporal"; empty for none.
        valid_fraction: Share of the remaining subjects that choose epochs, thresholds and recalibration.
        test_fraction: Share of the remaining subjects tested as "internal".
        split_seed: Of the shuffle of subjects.
    """

    held_out_sites: tuple[str, ...] = ()
    later_from: str = ""
    valid_fraction: float = 0.15
    test_fraction: float = 0.2
    split_seed: int = 0


@dataclass(frozen=True)
class Step:
    """One box of the cohort flow.

    Args:
        label: What this box holds.
        records: Records in it.
        subjects: Subjects in it.
        lost: What was left out on the way here, with its count; empty for nothing.
    """

    label: str
    records: int
    subjects: int
    lost: str = ""


def step(label: str, cohort: Cohort, lost: str = "") -> Step:
    """The box of a cohort."""
    return Step(label, len(cohort), len(np.unique(cohort.subjects)), lost)


def partition(cohort: Cohort, plan: Partition) -> tuple[dict[str, Cohort], list[Step]]:
    """Named disjoint cohorts ("train", "valid", "internal", and "temporal", "external" as asked), and the flow.

    A subject of a development site stays out of the external cohort, one of the earlier period out of the
    temporal cohort; what this removes is counted in the flow.

    Raises:
        SplitError: A named site or the dates do not allow it, or a part is empty.
    """
    _refuse_impossible(plan)
    parts: dict[str, Cohort] = {}
    flow: list[Step] = []
    inside = cohort
    if plan.held_out_sites:
        inside, outside = cohort.split_by_site(*plan.held_out_sites)
        dropped = len(cohort) - len(inside) - len(outside)
        flow.append(step("external", outside, f"{dropped} records of subjects also seen inside" if dropped else ""))
        parts["external"] = outside
    if plan.later_from:
        inside, later, dropped = inside.split_by_time(plan.later_from)
        flow.append(step("temporal", later, f"{dropped} later records of earlier subjects" if dropped else ""))
        parts["temporal"] = later
    fractions = (1 - plan.valid_fraction - plan.test_fraction, plan.valid_fraction, plan.test_fraction)
    names = ("train", "valid", "internal")
    kept = [(name, share) for name, share in zip(names, fractions, strict=True) if share > 0]
    split = inside.split_by_group([share for _, share in kept], seed=plan.split_seed)
    parts = {name: part for (name, _), part in zip(kept, split, strict=True)} | parts
    flow = [step(name, parts[name]) for name, _ in kept] + flow
    empty = [name for name, part in parts.items() if len(part) == 0]
    if empty:
        raise SplitError(f"{', '.join(empty)} would be empty; the cohort has {len(cohort)} records: use fewer parts")
    refuse_overlap(**parts)
    return parts, flow


def _refuse_impossible(plan: Partition) -> None:
    if not 0 < plan.valid_fraction < 1 or not 0 <= plan.test_fraction < 1:
        raise SplitError(
            f"valid_fraction must lie between 0 and 1 (thresholds need it) and test_fraction from 0 to below 1; "
            f"got {plan.valid_fraction:g} and {plan.test_fraction:g}"
        )
    if plan.valid_fraction + plan.test_fraction >= 1:
        raise SplitError(f"{plan.valid_fraction:g} valid and {plan.test_fraction:g} tested leave nobody to train on")
    if plan.later_from:
        try:
            np.datetime64(plan.later_from, "D")
        except ValueError:
            raise SplitError(f"--later-from is a day such as 2022-01-01; got {plan.later_from}") from None
