"""A space of recordings and records: what is learned from, what is asked of it, and who is near whom."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import CohortError, RecipeError, RunError
from stethos.io.files import write_atomic
from stethos.metrics.ranking import auroc
from stethos.study.several import Case
from stethos.study.task import fingerprint
from stethos.train.run import read_config
from stethos.types import Cohort, Run

PARTS = "parts.json"
_BRACKETS = re.compile(r" \([^()]*\)")
TRAINED_ON = ("train", "valid")
FEWEST = 5  # subjects of each kind
QUERIES: Mapping[str, str] = {
    "af": "Atrial fibrillation.",
    "atrial_fibrillation": "Atrial fibrillation.",
    "hypertension": "Hypertension.",
    "heart_failure": "Heart failure.",
    "copd": "Chronic obstructive pulmonary disease.",
    "diabetes": "Diabetes mellitus.",
    "ckd": "Chronic kidney disease.",
    "stroke": "Stroke.",
    "peripheral_disease": "Peripheral artery disease.",
}


def asked_of(query: Sequence[str]) -> dict[str, str]:
    """COLUMN=SENTENCE, several, as column → sentence; what is known already where there is none.

    Raises:
        RecipeError: One is not of that form.
    """
    found = {}
    for item in query:
        name, equals, sentence = item.partition("=")
        if not (name and equals and sentence):
            raise RecipeError(f'a query is given as COLUMN=SENTENCE, such as af="Atrial fibrillation."; got {item!r}')
        found[name] = sentence
    return found or dict(QUERIES)


def refuse_no_records(records: str) -> None:
    """Sentences mean nothing to an encoder that was pretrained without records.

    Raises:
        RunError: It was.
    """
    if records == "none":
        raise RunError("needs a pretraining with records; this one was made with --records none and reads no text")


def with_text(case: Case, rows: np.ndarray) -> np.ndarray:
    """Those of the rows that have a text and a usable patch."""
    told = np.array([bool(item) for item in case.told.text], dtype=bool)
    return np.sort(case.seen(rows[told[rows]]))


def learnable_rows(case: Case, rows: np.ndarray, records: str) -> np.ndarray:
    """Rows that a pretraining can learn from.

    Raises:
        CohortError: There are fewer than two.
    """
    found = np.sort(case.seen(rows)) if records == "none" else with_text(case, rows)
    if len(found) < 2:
        needed = "a usable patch" if records == "none" else "a usable patch and a text (column report)"
        raise CohortError(
            f"pretraining needs two recordings with {needed} in each of train and valid; got {len(found)}"
        )
    return found


def texts_for(case: Case, learned: Mapping[str, np.ndarray], records: str, seed: int) -> list[str]:
    """The text of each record of a case that is learned from; a stranger's where they are shuffled, else "".

    Strangers' texts go round within a part, so that no text of a tested record is read.
    """
    text = [""] * len(case.told.text)
    if records == "none":
        return text
    for number, rows in enumerate(learned.values()):
        source = (
            strangers(case.told.cohort.subjects[rows], seed + number) if records == "shuffled" else range(len(rows))
        )
        for row, other in zip(rows, source, strict=True):
            text[row] = case.told.text[rows[other]]
    return text


def without_years(texts: Sequence[str]) -> list[str]:
    """Texts without what stands in brackets: how often something was recorded, and from when to when.

    Nothing in the waveform tells it, and a tower that sees it can learn its patients by heart.
    """
    return [_BRACKETS.sub("", text) for text in texts]


def strangers(subject: np.ndarray, seed: int) -> np.ndarray:
    """For each row the number of a row of another subject, `(N,)`; with a single subject their own rows.

    Subjects are put in a random order, and each takes the texts of the next one.
    """
    people = np.random.default_rng((seed, 11)).permutation(np.unique(subject))
    after = dict(zip(people.tolist(), np.roll(people, -1).tolist(), strict=True))
    rows = {person: np.flatnonzero(subject == person) for person in people.tolist()}
    count = dict.fromkeys(people.tolist(), 0)
    found = np.empty(len(subject), np.int64)
    for row, person in enumerate(subject.tolist()):
        theirs = rows[after[person]]
        found[row] = theirs[count[person] % len(theirs)]
        count[person] += 1
    return found


def keep_parts(run: Run, case: Case, rows: Mapping[str, np.ndarray]) -> None:
    """Keep which records are in which part."""
    names = {name: case.told.cohort.rows["id"][part].astype(str).tolist() for name, part in rows.items()}
    write_atomic(run.private / PARTS, json.dumps(names).encode())


def tested_parts(run: Run, case: Case) -> dict[str, np.ndarray]:
    """Rows of each tested part of a pretraining's own cohort; of another cohort everybody, as "all"."""
    if read_config(run)["prepare"]["cohort"] != fingerprint(case.told.cohort):
        return {"all": np.arange(len(case.told.cohort))}
    held = json.loads((run.private / PARTS).read_text())
    names = case.told.cohort.rows["id"].astype(str)
    return {part: np.flatnonzero(np.isin(names, ids)) for part, ids in held.items() if part not in TRAINED_ON}


def tested_rows(run: Run, case: Case, texts: bool) -> np.ndarray:
    """Rows of all tested parts with a usable patch, and a text if need be.

    Raises:
        CohortError: There are fewer than two.
    """
    rows = np.sort(np.concatenate(list(tested_parts(run, case).values())))
    found = with_text(case, rows) if texts else case.seen(rows)
    if len(found) < 2:
        raise CohortError(
            f"retrieval needs two tested recordings or more{' with a text' if texts else ''}; got {len(found)}"
        )
    return found


def spread(z: Any) -> float:
    """Standard deviation of unit rows `(N, W)`, mean over W, times √W: near 1 for random ones, 0 if all are one."""
    return float(z.std(0).mean()) * z.shape[1] ** 0.5


def mapped(case: Case, rows: Mapping[str, np.ndarray], table: np.ndarray) -> dict[str, np.ndarray]:
    """Tested recordings on the two directions in which their embeddings differ most, with what is known of each.

    Args:
        case: Records.
        rows: Row numbers of every part.
        table: Embeddings of the case's records, `(N, W)`; NaN where there is none.

    Returns:
        "x", "y", and of what is known "age" (years), "heart rate" (1/min), and a diagnosis (0 or 1).
    """
    tested = np.sort(np.concatenate([part for name, part in rows.items() if name not in TRAINED_ON] or [rows["valid"]]))
    kept = case.seen(tested)
    centred = table[kept] - table[kept].mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    x, y = (centred @ directions[:2].T).T if min(centred.shape) > 1 else np.zeros((2, len(kept)))
    known = case.told.cohort.rows
    columns = {"age": "age", "heart rate": "hr", "atrial fibrillation": "af", "hypertension": "hypertension"}
    told = {word: np.asarray(known[name])[kept].astype(float) for word, name in columns.items() if name in known}
    return {"x": x, "y": y, **told}


def ranked(case: Case, rows: Mapping[str, np.ndarray], near: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """How well nearness to a sentence tells who has what the sentence says: part.column → (truth, nearness, subject).

    Args:
        case: Records; a column that it lacks, or of either kind of which a part has few subjects, is left out.
        rows: Row numbers of every tested part.
        near: Nearness of each record to each sentence, `(N, Q)`.
        names: Column of each sentence.
    """
    found = {}
    for part, which in rows.items():
        seen = case.seen(which)
        for number, name in enumerate(names):
            truth = _column(case.told.cohort, name)[seen]
            known = np.isfinite(truth)
            whose = case.told.cohort.subjects[seen][known]
            kinds = [len(np.unique(whose[truth[known] == kind])) for kind in (0, 1)]
            if min(kinds) >= FEWEST and np.isin(truth[known], (0, 1)).all():
                found[f"{name}.{part}"] = (truth[known], near[seen, number][known], whose)
    return found


def _column(cohort: Cohort, name: str) -> np.ndarray:
    held = cohort.rows.get(name)
    return np.full(len(cohort), np.nan) if held is None or held.dtype.kind not in "fiub" else held.astype(float)


def areas(found: Mapping[str, Any]) -> dict[str, float]:
    """Area under the ROC curve of each."""
    return {name: auroc(truth, near) for name, (truth, near, _) in found.items()}


def write_rows(out: Path, case: Case, rows: np.ndarray, tables: Mapping[str, np.ndarray]) -> str:
    """Write rows of numbers beside the ids they belong to; returns what was written, as text.

    Raises:
        RecipeError: The file does not end in .npz.
    """
    if Path(out).suffix != ".npz":
        raise RecipeError(f"--out is a file that ends in .npz; got {out}")
    known = case.told.cohort
    memory = io.BytesIO()
    kept: dict[str, Any] = {name: table.astype(np.float32) for name, table in tables.items()}
    kept |= {"record": known.rows["id"][rows].astype(str), "subject": known.subjects[rows].astype(str)}
    np.savez(memory, **kept)
    write_atomic(Path(out), memory.getvalue())
    refused = len(known) - len(rows)
    return f"{out}: {len(rows)} recordings; {refused} without a usable patch are left out"


def write_nearest(run: Run, case: Case, table: np.ndarray, z: np.ndarray, top: int) -> str:
    """Write the patients whose recordings are most like one, each once, to private/nearest.csv.

    Args:
        run: Of the network.
        case: With whom it is compared.
        table: Their embeddings, `(N, W)`; NaN where there is none.
        z: Its embedding, `(W,)`.
        top: How many patients.
    """
    cosine = table @ z / (np.linalg.norm(table, axis=1) * np.linalg.norm(z))
    order = np.argsort(-np.where(np.isfinite(cosine), cosine, -2))
    order = order[np.isfinite(cosine[order])]
    subject, ids = case.told.cohort.subjects[order].astype(str), case.told.cohort.rows["id"][order].astype(str)
    _, first = np.unique(subject, return_index=True)
    memory = io.StringIO()
    table_out = csv.writer(memory)
    table_out.writerow(["subject", "record", "cosine", "report"])
    for place in np.sort(first)[:top]:
        text = case.told.text[order[place]]
        table_out.writerow([subject[place], ids[place], round(float(cosine[order[place]]), 4), text])
    path = run.private / "nearest.csv"
    write_atomic(path, memory.getvalue().encode())
    return f"{path}: the {min(top, len(first))} nearest of {len(first)} patients; it names patients: keep it private"
