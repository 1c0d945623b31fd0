"""Score files of a DCASE Challenge Task 2 submission, written and read back.

    2020   anomaly_score_fan_id_01.csv
    2021   anomaly_score_fan_section_03_source_test.csv, and one of the target
    2022+  anomaly_score_fan_section_03_test.csv
           decision_result_fan_section_03_test.csv (from 2021 on)

Each line is "file,number"; there are no column names.

Reference:
    https://dcase.community/challenge2020 to challenge2024, Task 2, Submission.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stethos.errors import FormatError
from stethos.io.dcase import parse_name
from stethos.io.files import read_rows, write_atomic
from stethos.types import Predictions

_KINDS = ("anomaly_score", "decision_result")
_FILE = re.compile(
    r"(?P<kind>anomaly_score|decision_result)_(?P<machine>.+)_(?P<section>id_\d\d|section_\d\d)"
    r"(?:_(?P<domain>source|target))?(?:_test)?\.csv"
)
_SECTION = re.compile(r"(?:id|section)_\d\d")
_EXAMPLES = "anomaly_score_fan_id_01.csv or anomaly_score_fan_section_03_test.csv"


@dataclass(frozen=True, eq=False)
class Scores:
    """Anomaly scores of clips, as a submission holds them; every array is `(N,)`.

    Args:
        machine: Type of each clip.
        section: "id_00" or "section_00".
        domain: "source" or "target"; "" where unknown.
        file: Name of the clip's file.
        score: Higher means more anomalous.
        decision: 1 for anomalous, 0 for normal, NaN where none was taken.
    """

    machine: np.ndarray
    section: np.ndarray
    domain: np.ndarray
    file: np.ndarray
    score: np.ndarray
    decision: np.ndarray

    def __len__(self) -> int:
        return len(self.file)


def scores_from(predictions: Predictions, decision: np.ndarray | None = None) -> Scores:
    """The scores of predictions; a clip's file is the last part of its identifier.

    Args:
        predictions: Of one class, with the facts machine, section and domain.
        decision: 1 for anomalous, `(N,)`; None where none was taken.
    """
    names = [Path(item).name for item in predictions.record]
    files = np.array([name if Path(name).suffix == ".wav" else f"{name}.wav" for name in names])
    machine, section, domain = (predictions.facts[name].astype(str) for name in ("machine", "section", "domain"))
    taken = np.full(len(predictions), np.nan) if decision is None else np.asarray(decision, np.float64)
    return Scores(machine, section, domain, files, predictions.score[:, 0], taken)


def write_scores(folder: Path, scores: Scores, year: int) -> tuple[Path, ...]:
    """Write the score files of a submission, one a machine and section; in 2021 one a domain as well.

    From 2021 on the decisions go into files of their own, where there are any; 2020 knows none.

    Args:
        folder: Made if missing.
        scores: Of the clips to be judged.
        year: Of the challenge, which decides the files' names.

    Returns:
        The files.

    Raises:
        FormatError: A score is no number, a clip stands twice, or a domain is missing (2021).
    """
    _check(scores, year)
    domain = scores.domain if year == 2021 else np.full(len(scores), "")
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(zip(scores.machine, scores.section, domain, strict=True)):
        groups.setdefault(key, []).append(row)
    written = []
    for key, rows in groups.items():
        name = "_".join(word for word in (*key, "" if year == 2020 else "test") if word)
        cells = {"anomaly_score": [repr(float(value)) for value in scores.score[rows]]}
        if year > 2020 and not np.isnan(scores.decision[rows]).any():
            cells["decision_result"] = [str(int(value)) for value in scores.decision[rows]]
        for kind, values in cells.items():
            path = Path(folder) / f"{kind}_{name}.csv"
            write_atomic(path, _as_csv(scores.file[rows], values))
            written.append(path)
    return tuple(written)


def _check(scores: Scores, year: int) -> None:
    """Raise where scores cannot be written as a submission."""
    if not np.isfinite(scores.score).all():
        raise FormatError(f"{int((~np.isfinite(scores.score)).sum())} scores are no numbers; a submission needs all")
    known = scores.decision[~np.isnan(scores.decision)]
    if not np.isin(known, (0, 1)).all() or 0 < len(known) < len(scores):
        raise FormatError("decisions must be 0 or 1, for all clips or for none")
    if year == 2021 and not np.isin(scores.domain, ("source", "target")).all():
        unknown = int((~np.isin(scores.domain, ("source", "target"))).sum())
        raise FormatError(f"2021 wants one file a domain, and {unknown} clips have none; write them as of 2022")
    for machine, section in sorted(set(zip(scores.machine, scores.section, strict=True))):
        if not _SECTION.fullmatch(section) or not re.fullmatch(r"[^/\\]+", machine):
            raise FormatError(
                f"needs a machine without slashes and a section id_NN or section_NN; got {machine} {section}"
            )
    clips = Counter(zip(scores.machine, scores.section, scores.file, strict=True))
    twice = next((" ".join(clip) for clip, times in clips.items() if times > 1), None)
    if twice:
        raise FormatError(f"a submission holds each clip once; {twice} stands several times")


def _as_csv(files: np.ndarray, values: list[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(zip(files, values, strict=True))
    return buffer.getvalue().encode()


def read_scores(folder: Path) -> Scores:
    """Read a submission's score files, of any year; other files in the folder are left alone.

    Args:
        folder: Holds `anomaly_score_….csv`, and `decision_result_….csv` where decisions were taken.

    Raises:
        FormatError: There are none, one has a name or a line that does not fit, or a decision has no score.
    """
    found: dict[str, dict[tuple[str, ...], float]] = {kind: {} for kind in _KINDS}
    for path in sorted(Path(folder).glob("*.csv")):
        if not path.name.startswith(_KINDS):
            continue
        said = _FILE.fullmatch(path.name)
        if said is None:
            raise FormatError(f"{path}: needs a name such as {_EXAMPLES}; rename it or move it away")
        for file, value in read_pairs(path):
            key = (said["machine"], said["section"], said["domain"] or _domain(file), file)
            if key in found[said["kind"]]:
                raise FormatError(f"{path}: {file} has several values; leave one")
            found[said["kind"]][key] = value
    return _joined(folder, *(found[kind] for kind in _KINDS))


def _domain(file: str) -> str:
    """The domain that a clip's name tells; "" where it tells none."""
    try:
        return parse_name(file).domain or ""
    except FormatError:
        return ""


def _joined(folder: Path, score: Mapping[tuple[str, ...], float], decision: Mapping[tuple[str, ...], float]) -> Scores:
    """Scores and decisions of the same clips as arrays."""
    if not score:
        raise FormatError(f"{folder}: needs score files such as {_EXAMPLES}; there are none")
    alone = [key[-1] for key in decision if key not in score]
    if alone:
        raise FormatError(f"{folder}: {len(alone)} clips have a decision and no score, such as {alone[0]}; add it")
    machine, section, domain, file = (np.array(column) for column in zip(*score, strict=True))
    taken = np.array([decision.get(key, np.nan) for key in score])
    return Scores(machine, section, domain, file, np.array(list(score.values())), taken)


def read_pairs(path: Path) -> list[tuple[str, float]]:
    """The lines "file,number" of a CSV without column names.

    Raises:
        FormatError: A line is none.
    """
    pairs = []
    for cells in read_rows(path):
        try:
            pairs.append((cells[0].strip(), float(cells[1])))
        except (IndexError, ValueError):
            raise FormatError(f"{path}: each line needs FILE,NUMBER; got {','.join(cells)[:60]!r}") from None
    return pairs
