"""The nouns.

Everything above this floor takes and returns these. They are frozen, hold read-only arrays, compare by
identity, and know their physical units. Letters in shapes:

    B batch · C channels · T samples · L tokens · D width · K classes · N rows · F frames · Z H W space
"""

from __future__ import annotations

import errno
import io as _io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from itertools import combinations, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from stethos.errors import ChannelError, CohortError, FormatError, RateError, SplitError

Origin = Literal["real", "synthetic", "generated"]
Fact = float | str | None
_STRAP = "a chest strap lies across the heart and is not lead I; record between the hands, with a watch or a card"


def _frozen(values: np.ndarray, dtype: type | None = None) -> np.ndarray:
    """A read-only view where the array is ours already, a read-only copy otherwise."""
    array = np.asarray(values, dtype=dtype)
    if array.flags.writeable:
        array = array.copy() if array is values else array
        array.flags.writeable = False
    return array


def _by_fields(noun: Any) -> tuple[Any, ...]:
    """How a noun with a read-only mapping is pickled: built anew from its fields."""
    held = {item.name: getattr(noun, item.name) for item in fields(noun)}
    plain = {name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in held.items()}
    return _built, (type(noun), plain)


def _built(kind: type, held: dict[str, Any]) -> Any:
    return kind(**held)


@dataclass(frozen=True, eq=False)
class Signal:
    """One or more channels sampled together at one rate in one unit.

    Args:
        values: `(C, T)`, float32; NaN where nothing was recorded.
        rate: Sampling rate in Hz, as stated by the recording (512.844, not 512).
        channels: One name a row, such as "I" or "PLETH"; unique.
        unit: "mV", "Pa", "m/s2", "g", "V", "1", "a.u.".

    Raises:
        FormatError: `values` is not `(C, T)`, or the names do not match its rows.
        RateError: `rate` is not a positive finite number.
    """

    values: np.ndarray
    rate: float
    channels: tuple[str, ...]
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values, np.float32))
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.values.ndim != 2 or len(self.channels) != len(self.values):
            raise FormatError(
                f"a signal needs values of shape (channels, samples) and a name for each channel; "
                f"got shape {self.values.shape} and {len(self.channels)} names"
            )
        if len(set(self.channels)) != len(self.channels):
            raise FormatError(f"channel names must be unique; got {', '.join(self.channels)}")
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise RateError(f"a signal needs a positive sampling rate in Hz; got {self.rate}")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.values.shape[1] / self.rate

    def pick(self, *names: str) -> Signal:
        """The named channels, in the order asked for.

        Raises:
            ChannelError: One of them is not there.
        """
        missing = [name for name in names if name not in self.channels]
        if missing:
            raise ChannelError(f"needs channel {', '.join(missing)}; the signal has {', '.join(self.channels)}")
        rows = [self.channels.index(name) for name in names]
        return replace(self, values=_frozen(self.values[rows]), channels=names)

    def crop(self, start: float, stop: float) -> Signal:
        """The part between two times, in seconds from the first sample; cut to what there is."""
        first, last = (round(float(np.clip(t, 0, self.duration)) * self.rate) for t in (start, stop))
        return replace(self, values=self.values[:, first:last])


@dataclass(frozen=True, eq=False)
class Volume:
    """A moving image.

    Args:
        values: `(F, Z, H, W)`, float32.
        spacing: Millimetres between voxels, (z, y, x).
        interval: Seconds between frames.
    """

    values: np.ndarray
    spacing: tuple[float, float, float]
    interval: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values, np.float32))
        if self.values.ndim != 4:
            raise FormatError(f"a volume needs values of shape (F, Z, H, W); got {self.values.shape}")


@dataclass(frozen=True, eq=False)
class Record:
    """One visit of one subject: what was recorded, and what is known about it.

    Args:
        subject: Pseudonymous identifier of the person or machine; the unit of every split and interval.
        id: Identifier of the visit, unique within its cohort.
        when: Start of the recording; None where unknown.
        site: Hospital, device or factory; None where unknown.
        signals: One `Signal` per sampling rate and unit.
        volume: A cine, where there is one.
        text: A report, where there is one.
        facts: Labels, measurements and what else the table says; None where unknown.
        origin: "real", "synthetic" or "generated"; follows the numbers into every report.
        parents: Identifiers of the records a generated one came from.
    """

    subject: str
    id: str
    signals: tuple[Signal, ...]
    when: datetime | None = None
    site: str | None = None
    volume: Volume | None = None
    text: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    origin: Origin = "real"
    parents: tuple[str, ...] = ()

    __reduce__ = _by_fields

    def __post_init__(self) -> None:
        object.__setattr__(self, "signals", tuple(self.signals))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def pick(self, *names: str) -> Signal:
        """The named channels from the first signal that holds all of them.

        Raises:
            ChannelError: No signal of the record does.
        """
        for signal in self.signals:
            if set(names) <= set(signal.channels):
                return signal.pick(*names)
        held = ", ".join(name for signal in self.signals for name in signal.channels) or "none"
        why = f"; {_STRAP}" if held == "chest" else ""
        raise ChannelError(f"record {self.id}: needs channel {', '.join(names)}; it has {held}{why}")


@dataclass(frozen=True, eq=False)
class Cohort:
    """An index of records now, each record on demand.

    Args:
        rows: Columns of equal length `(N,)`. "id" and "subject" are always there (str); "when" is datetime64[s]
            with NaT for unknown, "site" str; every other column is a fact: float64 with NaN for unknown, or
            an object array of str and None.
        open: Row number of *this* cohort's table at creation → `Record`.
        origin: Where the records come from.
        terms: Licence and site rules; they follow into the model card.
        index: Row numbers that `open` understands, `(N,)`; None for all of them in order.

    Raises:
        CohortError: A column is missing, ragged, or an id stands twice.
    """

    rows: Mapping[str, np.ndarray]
    open: Callable[[int], Record]
    origin: Origin = "real"
    terms: str = ""
    index: np.ndarray | None = None

    __reduce__ = _by_fields

    def __post_init__(self) -> None:
        rows = {name: _frozen(column) for name, column in self.rows.items()}
        object.__setattr__(self, "rows", MappingProxyType(rows))
        missing = [name for name in ("id", "subject") if name not in rows]
        if missing:
            raise CohortError(f"a cohort needs the column {', '.join(missing)}; it has {', '.join(rows)}")
        count = len(rows["id"])
        ragged = [name for name, column in rows.items() if len(column) != count]
        if ragged:
            raise CohortError(f"columns must have {count} rows like id; {', '.join(ragged)} differ")
        if len(np.unique(rows["id"].astype(str))) != count:
            ids, times = np.unique(rows["id"].astype(str), return_counts=True)
            raise CohortError(f"ids must be unique; {ids[times > 1][0]} stands {times.max()} times")
        index = np.arange(count) if self.index is None else self.index
        object.__setattr__(self, "index", _frozen(index, np.int64))

    def __len__(self) -> int:
        return len(self.rows["id"])

    def __getitem__(self, row: int) -> Record:
        assert self.index is not None
        return self.open(int(self.index[row]))

    def __iter__(self) -> Iterator[Record]:
        return (self[row] for row in range(len(self)))

    @property
    def subjects(self) -> np.ndarray:
        """Subject of every row, `(N,)`."""
        return self.rows["subject"]

    def column(self, name: str) -> np.ndarray:
        """A column of the table, `(N,)`.

        Raises:
            CohortError: There is none of that name.
        """
        if name not in self.rows:
            raise CohortError(f"needs the column {name}; the cohort has {', '.join(sorted(self.rows))}")
        return self.rows[name]

    def take(self, rows: np.ndarray | Sequence[int]) -> Cohort:
        """The given rows (numbers, or a Boolean per row) as a cohort."""
        chosen = np.asarray(rows)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.int64)
        assert self.index is not None
        columns = {name: column[chosen] for name, column in self.rows.items()}
        return replace(self, rows=columns, index=self.index[chosen])

    def with_columns(self, **columns: np.ndarray) -> Cohort:
        """The same rows with columns added or replaced."""
        return replace(self, rows={**self.rows, **columns})

    def split_by_group(self, fractions: Sequence[float], seed: int = 0, by: str = "subject") -> tuple[Cohort, ...]:
        """Disjoint cohorts with about the given fractions of the *groups*; no group on two sides.

        Args:
            fractions: Positive, summing to at most 1 (what is left over is dropped).
            seed: Of the shuffle of the groups.
            by: Column that names the group.

        Raises:
            SplitError: The fractions are not positive or sum to more than 1.
        """
        if min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise SplitError(f"fractions must be positive and sum to at most 1; got {tuple(fractions)}")
        groups, member = np.unique(self.column(by).astype(str), return_inverse=True)
        place = np.empty(len(groups))
        place[np.random.default_rng(seed).permutation(len(groups))] = (np.arange(len(groups)) + 0.5) / len(groups)
        edges = np.concatenate([[0.0], np.cumsum(fractions)])
        edges[-1] += 1e-9
        sides = [(lo <= place) & (place < hi) for lo, hi in pairwise(edges)]
        return tuple(self.take(side[member]) for side in sides)

    def split_by_time(self, moment: np.datetime64 | str) -> tuple[Cohort, Cohort, int]:
        """Earlier and later than a moment, subjects disjoint.

        A subject on both sides stays in the earlier part; its later visits are removed and counted.

        Returns:
            Earlier cohort, later cohort, number of visits removed.

        Raises:
            SplitError: A date is unknown, or the dates are shifted per subject (column "shifted" is 1).
        """
        when = self.column("when")
        if "shifted" in self.rows and np.any(self.rows["shifted"] == 1):
            raise SplitError(
                "a split by time needs true dates; these are shifted per subject, so earlier and later mean "
                "nothing between subjects; split by anchor_year_group instead (by='anchor_year_group')"
            )
        if np.isnat(when).any():
            raise SplitError(f"a split by time needs a date for each visit; {int(np.isnat(when).sum())} have none")
        late = when >= np.datetime64(moment)
        seen = np.isin(self.subjects, self.subjects[~late])
        return self.take(~late), self.take(late & ~seen), int((late & seen).sum())

    def split_by_site(self, *sites: str) -> tuple[Cohort, Cohort]:
        """Other sites, and the named sites; a subject seen at both stays with the others.

        Raises:
            SplitError: A named site does not occur.
        """
        site = self.column("site").astype(str)
        unknown = sorted(set(sites) - set(site))
        if unknown:
            raise SplitError(f"no record of site {', '.join(unknown)}; sites are {', '.join(sorted(set(site)))}")
        outside = np.isin(site, sites)
        seen = np.isin(self.subjects, self.subjects[~outside])
        return self.take(~outside), self.take(outside & ~seen)


def refuse_overlap(**cohorts: Cohort) -> None:
    """Raise where two named cohorts share a subject.

    Raises:
        SplitError: They do; the message names the two and counts the subjects.
    """
    names = list(cohorts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = np.intersect1d(cohorts[first].subjects, cohorts[second].subjects)
            if len(shared):
                raise SplitError(f"{first} and {second} must not share subjects; {len(shared)} are in both")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about records, with what was true; enough to evaluate without the model.

    Args:
        score: Logits, higher means more likely, `(N, K)`.
        truth: 0, 1 or a measured value; NaN where unknown, `(N, K)`.
        record: Record identifiers, `(N,)`.
        subject: Subject of each row, `(N,)`.
        split: "train", "valid", "internal", "temporal", or an external cohort's name, `(N,)`.
        seed: Training seed that scored the row, `(N,)`.
        facts: What else is known of each row: name → `(N,)`.
        names: One name a class, K of them.
        origin: Where the records come from.
    """

    score: np.ndarray
    truth: np.ndarray
    record: np.ndarray
    subject: np.ndarray
    split: np.ndarray
    seed: np.ndarray
    facts: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    origin: Origin = "real"

    __reduce__ = _by_fields

    def __post_init__(self) -> None:
        for item in ("score", "truth"):
            object.__setattr__(self, item, _frozen(getattr(self, item), np.float64))
        for item in ("record", "subject", "split"):
            object.__setattr__(self, item, _frozen(np.asarray(getattr(self, item)).astype(str)))
        object.__setattr__(self, "seed", _frozen(self.seed, np.int64))
        facts = {name: _frozen(np.asarray(column)) for name, column in self.facts.items()}
        object.__setattr__(self, "facts", MappingProxyType(facts))
        shape = (len(self.record), len(self.names))
        if self.score.shape != shape or self.truth.shape != shape:
            raise FormatError(
                f"predictions need score and truth of shape {shape} (rows, classes); "
                f"got {self.score.shape} and {self.truth.shape}"
            )

    def __len__(self) -> int:
        return len(self.record)

    def take(self, rows: np.ndarray) -> Predictions:
        """The given rows (numbers, or a Boolean per row)."""
        cut = {item: getattr(self, item)[rows] for item in _PER_ROW}
        return replace(self, **cut, facts={name: column[rows] for name, column in self.facts.items()})

    def part(self, split: str) -> Predictions:
        """The rows of one split."""
        return self.take(self.split == split)

    def mean_over_seeds(self) -> Predictions:
        """One row per record and split: the mean logit over seeds, in order of first appearance (seed = −1)."""
        key = np.char.add(np.char.add(self.split, "\x1f"), self.record)
        _, first, member = np.unique(key, return_index=True, return_inverse=True)
        total = np.zeros((len(first), len(self.names)))
        np.add.at(total, member, self.score)
        mean = total / np.bincount(member)[:, None]
        order = np.argsort(first)
        return replace(self.take(first[order]), score=mean[order], seed=np.full(len(first), -1))

    def save(self, path: Path) -> None:
        """Write one `.npz` file, atomically.

        Raises:
            FormatError: The disk is full, or the folder cannot be written.
        """
        arrays: dict[str, Any] = {item: getattr(self, item) for item in _PER_ROW}
        arrays |= {f"fact/{name}": _plain(column) for name, column in self.facts.items()}
        buffer = _io.BytesIO()
        np.savez_compressed(buffer, names=np.array(self.names), origin=np.array(self.origin), **arrays)
        partial = Path(path).with_suffix(".part")
        try:
            partial.write_bytes(buffer.getvalue())
            partial.replace(path)
        except OSError as error:
            why = "the disk is full: free some space" if error.errno == errno.ENOSPC else f"{error.strerror}"
            raise FormatError(f"{path} could not be written: {why}; then run the same command again") from error

    @staticmethod
    def load(path: Path) -> Predictions:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            facts = {name.removeprefix("fact/"): file[name] for name in file.files if name.startswith("fact/")}
            arrays = {item: file[item] for item in _PER_ROW}
            return Predictions(**arrays, facts=facts, names=tuple(file["names"].tolist()), origin=str(file["origin"]))  # type: ignore[arg-type]


_PER_ROW = ("score", "truth", "record", "subject", "split", "seed")


def _plain(column: np.ndarray) -> np.ndarray:
    """An object column as text, "" for None, so that no pickle is needed to store it."""
    return np.array(["" if item is None else str(item) for item in column]) if column.dtype == object else column


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each part of a recording contributed, in logits.

    Args:
        values: `(N, players)`; a row sums to the score minus the score of the baseline.
        names: One name a player, such as "QRS" or "T".
        bounds: Median start and stop of each player, in seconds from R, `(N, players, 2)`; NaN where it has none.
        baseline: What an absent player was replaced by, in words.
        interaction: What each pair of players adds beyond what the two add alone, a column for each of `pairs`,
            `(N, players (players − 1) / 2)`; None where it was not kept.
    """

    values: np.ndarray
    names: tuple[str, ...]
    bounds: np.ndarray
    baseline: str
    interaction: np.ndarray | None = None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the pairs of players: the first with every other, the second with those after it, and so on."""
        return tuple(combinations(self.names, 2))


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; prints `0.912 (0.897 to 0.926)`.

    Args:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of subjects it rests on.
        events: Number of subjects with the event; None where there are no events.
        level: Coverage of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    events: int | None = None
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def excludes(self) -> Callable[[float], bool]:
        """Whether a value lies outside the interval: `estimate.excludes(0.5)`."""
        return lambda value: not self.low <= value <= self.high


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and how carefully a network is trained.

    Args:
        steps: Optimiser steps.
        batch: Records in the whole step, whatever the number of processes.
        lr: Peak learning rate.
        decay: Weight decay of AdamW, on weights of two or more dimensions only.
        warmup: Fraction of the steps over which the learning rate rises from 0.
        seed: Of the weights, the order of the data and the augmentation.
        precision: "float32", or "bfloat16" for autocast.
        accumulate: Parts a step's batch is cut into, to save memory.
        clip: Largest norm of the gradient; 0 for none.
        ema: Largest decay of the running mean of the weights; 0 for none.
        validate_every: Steps between two looks at the validation set; 0 for only at the end.
        patience: Looks without improvement after which training stops; 0 for never.
    """

    steps: int = 1000
    batch: int = 64
    lr: float = 1e-3
    decay: float = 0.01
    warmup: float = 0.05
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = 1
    clip: float = 1.0
    ema: float = 0.0
    validate_every: int = 0
    patience: int = 0


@dataclass(frozen=True)
class Run:
    """The folder a training leaves behind.

    What is directly in it may be shared; `private/` holds everything per record.

    Args:
        folder: Where it is.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """`{system, version, recipe, prepare, origin, terms}`."""
        return self.folder / "config.json"

    @property
    def log(self) -> Path:
        """One JSON object a line: step, losses, learning rate, validation."""
        return self.folder / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """Dotted name → {value, low, high, n, origin}."""
        return self.folder / "metrics.json"

    @property
    def environment(self) -> Path:
        """Versions of Python, the packages and the machine."""
        return self.folder / "environment.json"

    @property
    def weights(self) -> Path:
        """The trained network."""
        return self.folder / "model.safetensors"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "README.md"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.folder / "report.html"

    @property
    def private(self) -> Path:
        """Everything per record: predictions, examples, splits."""
        return self.folder / "private"

    @property
    def predictions(self) -> Path:
        """`Predictions` on every split."""
        return self.private / "predictions.npz"


assert set(_PER_ROW) <= {item.name for item in fields(Predictions)}
