"""Which waves of an ECG a score rests on.

A model is a function of prepared windows to logits. Every coalition of waves is shown to it, with the rest replaced
by a baseline; the Shapley values of that game divide its logit among the waves. Logits, not probabilities: they add up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stethos.errors import QualityError, ScoreError
from stethos.explain.baseline import Baseline, Isoelectric
from stethos.explain.bounds import PLAYERS
from stethos.explain.scene import TIMING, Scene
from stethos.explain.shapley import Shapley, coalitions, exact, from_table
from stethos.signal.prepare import Preparation
from stethos.types import Attribution, Signal

Score = Callable[[np.ndarray], np.ndarray]
"""Prepared windows, float32 `(N, 1, T)` → logits `(N, K)`."""

ISOELECTRIC = Isoelectric()
_WINDOWS_AT_ONCE = 512

log = logging.getLogger("stethos")


@dataclass(frozen=True, eq=False)
class WaveExplanation:
    """What each wave of one recording contributed to each logit.

    Args:
        names: One a player: P, PR, QRS, ST, T, TP, and timing where it plays.
        values: Logits, `(n, K)`; they sum to `full` − `empty`; exactly 0 for an absent wave.
        interaction: What each pair adds beyond its two parts, `(n, n, K)`.
        empty: Logits of the baseline alone, `(K,)`.
        full: Logits of the recording, `(K,)`.
        bounds: Median start and stop of each player in seconds from R, NaN where it has no samples, `(n, 2)`.
        curve: The contributions of the waves spread over the prepared samples, `(T, K)`; see `Scene.curve`.
        rate: Of `curve`, Hz.
        baseline: What an absent wave was replaced by, in words.
    """

    names: tuple[str, ...]
    values: np.ndarray
    interaction: np.ndarray
    empty: np.ndarray
    full: np.ndarray
    bounds: np.ndarray
    curve: np.ndarray
    rate: float
    baseline: str

    def along(self, lead: Signal, output: int = 0) -> np.ndarray:
        """The curve of one logit at the samples of a lead, for drawing, `(T,)`; 0 after the window's end.

        Args:
            lead: The recording that was explained, at its own rate.
            output: Number of the logit.
        """
        time = np.arange(lead.values.shape[1]) / lead.rate
        here = np.arange(len(self.curve)) / self.rate
        return np.interp(time, here, self.curve[:, output], right=0.0) * (self.rate / lead.rate)


def explain(
    score: Score,
    lead: Signal,
    preparation: Preparation,
    *,
    baseline: Baseline = ISOELECTRIC,
    timing: bool = True,
) -> WaveExplanation:
    """Exact Shapley values of the waves of one recording.

    Args:
        score: Of prepared windows; called once, with at most 128 of them.
        lead: One channel of ECG, unprepared; its first window is explained.
        preparation: What the model sees.
        baseline: What takes the place of an absent wave.
        timing: Whether the times of beats are a player; it doubles the cost where the rhythm is uneven.

    Raises:
        QualityError: Fewer than two beats are found, or the lead is too short.
        ChannelError: It has several channels.
        RateError: Its rate does not suit the preparation.
        ScoreError: A score is not finite.
    """
    scene = Scene.of(lead, preparation, baseline, timing)
    found = exact(lambda present: score(scene.masked(present)), len(scene.active))
    values, interaction = _among_all(found, scene)
    return WaveExplanation(
        scene.names,
        values,
        interaction,
        found.empty,
        found.full,
        scene.bounds,
        scene.curve(values),
        preparation.rate,
        baseline.words,
    )


def explain_many(
    score: Score,
    leads: Iterable[Signal],
    preparation: Preparation,
    *,
    baseline: Baseline = ISOELECTRIC,
    timing: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Attribution:
    """Exact Shapley values and interactions of the waves of each recording, some 500 windows a call of the model.

    Args:
        score: Of prepared windows; one logit each. For several, see `explain_outputs`.
        leads: One channel of ECG each, unprepared.
        preparation: What the model sees.
        baseline: What takes the place of an absent wave.
        timing: Whether the times of beats are a player.
        progress: Told how many recordings are done.

    Returns:
        One row a recording, in their order; NaN where it has too few beats or is too short, which is logged. `bounds`
        are medians over its beats, in seconds from R.

    Raises:
        ChannelError: A lead has several channels.
        RateError: A rate does not suit the preparation.
        ScoreError: A score is not finite, or there are several.
    """
    found = explain_outputs(score, leads, preparation, 1, baseline=baseline, timing=timing, progress=progress)
    return found[0]


def explain_outputs(  # noqa: PLR0913  # those of explain_many, and how many logits
    score: Score,
    leads: Iterable[Signal],
    preparation: Preparation,
    outputs: int,
    *,
    baseline: Baseline = ISOELECTRIC,
    timing: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Attribution]:
    """`explain_many` for each of several logits, at the cost of one: the model is asked once.

    Args:
        score: Of prepared windows; K logits each.
        leads: One channel of ECG each, unprepared.
        preparation: What the model sees.
        outputs: K.
        baseline: What takes the place of an absent wave.
        timing: Whether the times of beats are a player.
        progress: Told how many recordings are done.

    Returns:
        One attribution a logit.

    Raises:
        ChannelError: A lead has several channels.
        RateError: A rate does not suit the preparation.
        ScoreError: A score is not finite, or there are not K.
    """
    names = (*PLAYERS, TIMING) if timing else PLAYERS
    scenes = (_scene(lead, preparation, baseline, timing) for lead in leads)
    players = len(names)
    rows: list[_Row] = []
    for group in _groups(scenes):
        told = _explained(score, group, outputs)
        rows += [_row(scene, found, players, outputs) for scene, found in zip(group, told, strict=True)]
        if progress is not None:
            progress(len(rows))
    bounds = np.reshape([row.bounds for row in rows], (-1, players, 2))
    values = np.reshape([row.values for row in rows], (-1, players, outputs))
    pairs = np.reshape([row.interaction for row in rows], (-1, players * (players - 1) // 2, outputs))
    return [Attribution(values[..., k], names, bounds, baseline.words, pairs[..., k]) for k in range(outputs)]


class _Row(NamedTuple):
    """What is kept of one recording; its table of coalitions is not."""

    values: np.ndarray
    bounds: np.ndarray
    interaction: np.ndarray


def _row(scene: Scene | None, found: Shapley | None, players: int, outputs: int) -> _Row:
    """Of one recording; NaN where it could not be explained."""
    pairs = np.triu_indices(players, 1)
    if scene is None:
        values, interaction = np.full((players, outputs), np.nan), np.full((len(pairs[0]), outputs), np.nan)
        return _Row(values, np.full((players, 2), np.nan), interaction)
    values, interaction = _among_all(found, scene)
    return _Row(values, scene.bounds, interaction[pairs])


def _scene(lead: Signal, preparation: Preparation, baseline: Baseline, timing: bool) -> Scene | None:
    try:
        return Scene.of(lead, preparation, baseline, timing)
    except QualityError as error:
        log.info("a recording is not explained: %s", error)
        return None


def _groups(scenes: Iterable[Scene | None]) -> Iterator[list[Scene | None]]:
    """Recordings that share a call of the model."""
    group: list[Scene | None] = []
    windows = 0
    for scene in scenes:
        group.append(scene)
        windows += 0 if scene is None else 2 ** len(scene.active)
        if windows >= _WINDOWS_AT_ONCE:
            yield group
            group, windows = [], 0
    if group:
        yield group


def _explained(score: Score, group: list[Scene | None], outputs: int) -> list[Shapley | None]:
    """One call of the model for the coalitions of all recordings."""
    shown = [scene.masked(coalitions(len(scene.active))) for scene in group if scene is not None]
    if not shown:
        return [None] * len(group)
    worth = np.asarray(score(np.concatenate(shown)), dtype=np.float64)
    if worth.shape != (sum(map(len, shown)), outputs) or not np.isfinite(worth).all():
        raise ScoreError(
            f"an explanation needs {'one finite logit' if outputs == 1 else f'{outputs} finite logits'} for each of "
            f"{sum(map(len, shown))} windows; got shape {worth.shape}"
            f"{'' if np.isfinite(worth).all() else ' with values that are not finite'}; of several logits, pick one"
        )
    tables = iter(np.split(worth, np.cumsum([len(part) for part in shown])[:-1]))
    return [None if scene is None else from_table(next(tables)) for scene in group]


def _among_all(found: Shapley | None, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Values and interactions of all players, exactly 0 for those that cannot change anything."""
    assert found is not None
    assert found.interaction is not None
    players, active = len(scene.names), scene.active
    values = np.zeros((players, found.values.shape[1]))
    interaction = np.zeros((players, players, found.values.shape[1]))
    values[active] = found.values
    interaction[np.ix_(active, active)] = found.interaction
    return values, interaction
