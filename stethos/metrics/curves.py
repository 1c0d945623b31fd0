"""The ROC curves of anomalous sound: per machine, per identity, per domain, with the areas of many draws at once.

A machine type has several identities, which DCASE calls sections (id_00, section_00). Between them runs one of four
kinds of curve:

    machine       every clip of a machine type, identities pooled
    section       every clip of one identity
    domain        one identity, the clips of one domain alone
    against_all   one identity, the normal clips of one domain against the anomalous clips of both

A draw takes clips anew within identity × domain × class; which machines and identities there are stays fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import known
from stethos.metrics.stratified import Strata, roc_areas

Kind = Literal["machine", "section", "domain", "against_all"]
DOMAINS = ("source", "target")
MAX_FPR = 0.1
_CELLS = 500_000  # draws × rows at a time


class Resampling(NamedTuple):
    """How intervals are drawn.

    Args:
        draws: Number of resamples.
        level: Coverage of the intervals.
        seed: Of the draws; the same seed draws the same clips for every score.
    """

    draws: int = 1000
    level: float = 0.95
    seed: int = 0


AS_USUAL = Resampling()


@dataclass(frozen=True, eq=False)
class Clips:
    """What is known of the clips that are scored.

    Args:
        truth: 1 anomalous, 0 normal, NaN unknown (the clip is left out), `(N,)`.
        machine: Machine type, such as "fan", `(N,)`.
        section: Identity within the type, such as "id_00", `(N,)`.
        domain: "source", "target", or "" where unknown, `(N,)`; None for unknown throughout.
        subject: Source recording, `(N,)`; clips of one are drawn together. None for each clip its own.

    Raises:
        ScoreError: The lengths differ, no truth is known, or a truth or a domain is another word.
    """

    truth: np.ndarray
    machine: np.ndarray
    section: np.ndarray
    domain: np.ndarray | None = None
    subject: np.ndarray | None = None

    def __post_init__(self) -> None:
        truth = np.asarray(self.truth, np.float64)
        domain = np.full(len(truth), "") if self.domain is None else self.domain
        subject = np.arange(len(truth)) if self.subject is None else np.asarray(self.subject)
        texts = [np.asarray(item).astype(str) for item in (self.machine, self.section, domain)]
        known(truth, *texts, subject)
        strange = set(np.unique(truth[~np.isnan(truth)])) - {0.0, 1.0}
        if strange:
            raise ScoreError(f"truth must be 0 (normal), 1 (anomalous) or NaN; got {min(strange):g}")
        texts[2] = np.where(np.isin(texts[2], ("None", "nan")), "", texts[2])
        strange = set(texts[2].tolist()) - {"", *DOMAINS}
        if strange:
            raise ScoreError(f'a domain must be "source", "target" or "" (unknown); got {min(strange)!r}')
        held = dict(zip(("machine", "section", "domain"), texts, strict=True), truth=truth, subject=subject)
        for name, value in held.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Curve:
    """One ROC curve.

    Args:
        kind: Which clips it is drawn through.
        machine: Machine type.
        section: Identity; "" for all of the type.
        domain: Of its normal clips; "" for both.
        normal: Normal clips.
        anomalous: Anomalous clips.
        subjects: Source recordings of the normal clips, and of the anomalous ones.
        reason: Why it has no area; "" where it has one.
    """

    kind: Kind
    machine: str
    section: str
    domain: str
    normal: int
    anomalous: int
    subjects: tuple[int, int]
    reason: str = ""

    @property
    def name(self) -> str:
        """Such as "fan", "fan/id_00" or "fan/section_00, target against all"."""
        kind = {"against_all": f", {self.domain} against all", "domain": f", {self.domain} alone"}.get(self.kind, "")
        return "/".join(part for part in (self.machine, self.section) if part) + kind


@dataclass(frozen=True, eq=False)
class Areas:
    """The areas under every curve, of the clips as they are or of D draws.

    Args:
        curves: K of them.
        auc: Area under each, NaN where there is a reason, `(K,)` or `(D, K)`.
        pauc: Partial area, false-positive rates up to 0.1, by McClish, likewise.
    """

    curves: tuple[Curve, ...]
    auc: np.ndarray
    pauc: np.ndarray

    @staticmethod
    def of(clips: Clips, score: np.ndarray) -> Areas:
        """Areas of the clips as they are, `(K,)`.

        Args:
            clips: N of them.
            score: Higher means more anomalous, ties count half, `(N,)`.

        Raises:
            ScoreError: A score of a clip with a known truth is missing.
        """
        drawn = _areas(clips, score, None)
        return replace(drawn, auc=drawn.auc[0], pauc=drawn.pauc[0])

    @staticmethod
    def drawn(clips: Clips, score: np.ndarray, how: Resampling = AS_USUAL) -> Areas:
        """Areas of D draws, `(D, K)`; two scores of the same clips with the same seed are given the same draws.

        Args:
            clips: N of them.
            score: Higher means more anomalous, ties count half, `(N,)`.
            how: Number of draws and seed.

        Raises:
            ScoreError: A score of a clip with a known truth is missing, or fewer than two draws are asked for.
        """
        if how.draws < 2:
            raise ScoreError(f"an interval needs at least 2 draws; got {how.draws}")
        return _areas(clips, score, how)

    def of_machine(self, machine: str) -> Areas:
        """The curves of one machine type."""
        rows = [number for number, curve in enumerate(self.curves) if curve.machine == machine]
        return Areas(tuple(self.curves[row] for row in rows), self.auc[..., rows], self.pauc[..., rows])

    @property
    def machines(self) -> tuple[str, ...]:
        """Machine types in the order of the alphabet."""
        return tuple(sorted({curve.machine for curve in self.curves}))


def _areas(clips: Clips, score: np.ndarray, how: Resampling | None) -> Areas:
    known(clips.truth, np.asarray(score, np.float64))
    score, generator = np.asarray(score, np.float64), np.random.default_rng(how.seed if how else 0)
    curves: list[Curve] = []
    found: list[np.ndarray] = []
    scored = ~np.isnan(clips.truth)
    for machine in np.unique(clips.machine[scored]):
        rows = np.flatnonzero(scored & (clips.machine == machine))
        through = list(_curves(clips, rows))
        curves += [curve for curve, _ in through]
        parts = [_of_draws(clips, score, rows, through, times) for times in _times(clips, rows, how, generator)]
        found.append(np.concatenate(parts))  # (D, curves of the machine, 2)
    areas = np.concatenate(found, axis=1)
    return Areas(tuple(curves), areas[..., 0], areas[..., 1])


def _times(
    clips: Clips, rows: np.ndarray, how: Resampling | None, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """How often each row of a machine comes up, some draws at a time."""
    if how is None:
        yield np.ones((1, len(rows)), np.int32)
        return
    stratum = [f"{clips.section[row]}\x1f{clips.domain[row]}\x1f{clips.truth[row]:g}" for row in rows]  # type: ignore[index]
    strata = Strata.of(np.array(stratum), clips.subject[rows])  # type: ignore[index]
    generators, step = generator.spawn(len(strata.parts)), max(1, _CELLS // len(rows))
    for start in range(0, how.draws, step):
        yield strata.draw(min(step, how.draws - start), generators)


def _of_draws(
    clips: Clips, score: np.ndarray, rows: np.ndarray, through: list[tuple[Curve, np.ndarray]], times: np.ndarray
) -> np.ndarray:
    """Areas of a machine's curves, `(D, K, 2)`."""
    areas = np.full((len(times), len(through), 2), np.nan)
    for number, (curve, place) in enumerate(through):
        if not curve.reason:
            here = rows[place]
            areas[:, number] = np.stack(roc_areas(clips.truth[here] == 1, score[here], times[:, place], MAX_FPR), 1)
    return areas


def _curves(clips: Clips, rows: np.ndarray) -> Iterator[tuple[Curve, np.ndarray]]:
    """The curves of one machine, and where in `rows` their clips are."""
    section, domain, normal = clips.section[rows], clips.domain[rows], clips.truth[rows] == 0  # type: ignore[index]
    yield _curve(clips, rows, "machine", np.ones(len(rows), bool), ("", ""))
    for name in np.unique(section):
        here = section == name
        yield _curve(clips, rows, "section", here, (name, ""))
        for side in DOMAINS if np.any(clips.domain != "") else ():
            own = here & (domain == side)
            unknown = int(np.sum(domain[here] == ""))
            reason = f"{unknown} of {here.sum()} clips have no known domain" if unknown else ""
            yield _curve(clips, rows, "domain", own, (name, side), reason)
            yield _curve(clips, rows, "against_all", own | (here & ~normal), (name, side), reason)


def _curve(
    clips: Clips, rows: np.ndarray, kind: Kind, chosen: np.ndarray, names: tuple[str, str], reason: str = ""
) -> tuple[Curve, np.ndarray]:
    place = np.flatnonzero(chosen)
    normal = clips.truth[rows[place]] == 0
    subject = clips.subject[rows[place]]  # type: ignore[index]
    counts = int(normal.sum()), int((~normal).sum())
    if not reason and not all(counts):
        missing = "normal" if not counts[0] else "anomalous"
        reason = f"no {missing} clip among {sum(counts)}"
    subjects = len(np.unique(subject[normal])), len(np.unique(subject[~normal]))
    machine = str(clips.machine[rows[0]])
    return Curve(kind, machine, str(names[0]), names[1], *counts, subjects, reason), place
