"""What a trained detector of anomalous sound is judged by, compared with and kept as."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from stethos.errors import CohortError, RunError
from stethos.explain.patches import usual_levels
from stethos.nn.mel import LogMel
from stethos.signal.clip import RATE
from stethos.study import backends, clips
from stethos.study.clips import Hearing
from stethos.study.detect import seeds_of
from stethos.study.detector import USUAL, Detector, Memory
from stethos.study.ensemble import scorer
from stethos.study.examples import first_window, keep_examples
from stethos.study.lead import joined, record_scores
from stethos.study.listening import identity_of
from stethos.study.own_class import own_class
from stethos.study.progress import bar
from stethos.study.publish import write_flow
from stethos.study.sound_baselines import BASELINES
from stethos.train.dist import chief
from stethos.train.run import read_config
from stethos.train.weights import load_weights, save_weights
from stethos.types import Predictions, Run

ENOUGH = 10  # validation recordings of a machine, below which all machines set its threshold
QUANTILE = 0.9


@dataclass(frozen=True, eq=False)
class Heard:
    """What one network made of every recording.

    Args:
        embedding: Mean over the recording's windows, NaN where it has none, `(N, D)`.
        centres: Direction of every class of the network, `(K, D)`; None where it knows no classes.
    """

    embedding: np.ndarray
    centres: np.ndarray | None


def heard_by(hearing: Hearing, model: nn.Module) -> Heard:
    """Every recording of all parts through one network."""
    rows = np.arange(len(hearing.cohort))
    embedding = record_scores(scorer(model.embed), hearing.prepared, rows)  # type: ignore[arg-type]
    centres = getattr(model, "centres", None)
    return Heard(embedding, None if centres is None else centres.detach().double().numpy())


def judged(hearing: Hearing, heard: Heard, scale: float, margin: float) -> dict[str, np.ndarray]:
    """Score of every recording by every back end, fitted on the training recordings, `(N,)` each.

    Nothing is chosen here: all of them are kept, and the recipe names the one that speaks. One that these recordings
    do not allow is left out, and the log says why.
    """
    classes, train = hearing.classes, hearing.parts["train"]
    domain = hearing.column("domain")
    tested = np.concatenate([hearing.parts["valid"], hearing.parts["internal"]])
    found: dict[str, np.ndarray] = {}
    for name, make in backends.BACKENDS.items():
        try:
            fit_on = make().fit(heard.embedding[train], classes.machine[train], domain[train])
        except CohortError as error:
            logging.getLogger("stethos").warning("back end %s left out: %s", name, error)
            continue
        found[name] = np.full(len(hearing.cohort), np.nan)
        found[name][tested] = fit_on.score(heard.embedding[tested], classes.machine[tested])
    if heard.centres is not None:
        cosine = heard.embedding @ heard.centres.T  # (N, K), the mean over windows of each window's cosines
        for name, angle in (("own-class", 0.0), ("own-class-margin", margin)):
            found[name] = own_class(cosine, classes.owner, classes.machine, scale, angle)
    return found


def finish(hearing: Hearing, members: Mapping[int, nn.Module], recipe: Any) -> None:
    """Score all tested recordings by every network, every back end and every baseline, and keep it all in the run.

    A run that is finished is left alone: machines may have been enrolled since.

    Raises:
        CohortError: The back end of the recipe cannot be fitted on these recordings.
    """
    if hearing.run.predictions.is_file():
        return
    every = {seed: heard_by(hearing, model) for seed, model in members.items()}
    if not chief():
        return
    own = _kept(hearing, every, recipe)
    memory = remembered(hearing, list(every.values()), own)
    memory.save(hearing.run)
    detector = _detector(members.values(), recipe, memory)
    save_weights(detector.members, hearing.run.weights)
    mean = own.mean_over_seeds()
    place = {record: row for row, record in enumerate(hearing.cohort.rows["id"].astype(str))}
    score = np.full(len(hearing.cohort), np.nan)
    score[[place[record] for record in mean.record]] = mean.score[:, 0]
    keep_examples(hearing, detector, score, next(iter(every.values())).embedding)
    write_flow(hearing.run, hearing.flow, hearing.prepared.refused)
    own.save(hearing.run.predictions)  # last: a run with predictions is finished


def _kept(hearing: Hearing, every: Mapping[int, Heard], recipe: Any) -> Predictions:
    """Keep what every back end and every baseline says; what the back end of the recipe says."""
    said: dict[str, list[Predictions]] = {}
    for seed, heard in every.items():
        for name, score in judged(hearing, heard, *_angles(recipe)).items():
            said.setdefault(f"backend-{name}", []).append(_tested(hearing, score, seed))
    if f"backend-{recipe.backend}" not in said:
        raise CohortError(f"--backend {recipe.backend} cannot be fitted on these recordings; take --backend nearest")
    for name, score in baselines(hearing).items():
        said[f"baseline-{name.removesuffix('-mean-mel')}"] = [_tested(hearing, score, recipe.schedule.seed)]
    for name, parts in said.items():
        joined(parts).save(hearing.run.private / f"{name}.npz")
    return joined(said[f"backend-{recipe.backend}"])


def _angles(recipe: Any) -> tuple[float, float]:
    """Factor of the cosines and margin in radians; 0 where a recipe has none."""
    return getattr(recipe, "scale", 0.0), getattr(recipe, "margin", 0.0)


def _detector(members: Iterable[nn.Module], recipe: Any, memory: Memory) -> Detector:
    return Detector(list(members), recipe.listen.windows, memory, recipe.backend, *_angles(recipe)).eval()


def _tested(hearing: Hearing, score: np.ndarray, seed: int) -> Predictions:
    return clips.as_predictions(hearing, score, seed, ("valid", "internal"))


def remembered(hearing: Hearing, every: Sequence[Heard], own: Predictions) -> Memory:
    """The training recordings to compare with, and a threshold for every machine from its validation recordings.

    The threshold is the 90th percentile of the mean score of the machine's own validation recordings, or of all
    machines' where it has fewer than ten.
    """
    train, classes = hearing.parts["train"], hearing.classes
    valid = own.part("valid").mean_over_seeds()
    name = identity_of(valid.facts["machine"], valid.facts["section"])
    own_scores = [valid.score[name == machine, 0] for machine in classes.machines]
    chosen = [score if len(score) >= ENOUGH else valid.score[:, 0] for score in own_scores]
    threshold = np.array([np.quantile(score, QUANTILE, method="higher") for score in chosen])
    return Memory(
        tuple(heard.embedding[train] for heard in every),
        classes.machine[train],
        hearing.column("domain")[train],
        hearing.cohort.rows["id"][train].astype(str),
        classes.machines,
        classes.owner,
        threshold,
        dict(_usual(hearing)),
    )


def _usual(hearing: Hearing) -> Iterator[tuple[str, np.ndarray]]:
    """Machine and its usual levels, of those that were trained on."""
    train = hearing.parts["train"]
    for place, name in enumerate(hearing.classes.machines):
        rows = train[hearing.classes.machine[train] == place][:USUAL]
        if len(rows):
            yield name, usual_levels(np.stack([first_window(hearing, int(row)) for row in rows]), RATE)


def load_detector(run: Run, recipe: Any, build: Callable[[Any, int], nn.Module]) -> Detector:
    """The detector of a finished run.

    Args:
        run: The run.
        recipe: What it was made with.
        build: Recipe and number of classes to a network; the page's class.

    Raises:
        RunError: The training has not finished, or the private part is missing.
        WeightsError: The weights are of another network.
    """
    if not run.weights.is_file():
        raise RunError(
            f"{run.folder} holds no model.safetensors: its training has not finished; run it again to resume"
        )
    memory, protocol = Memory.load(run), read_config(run)["prepare"]
    members = nn.ModuleList([build(recipe, protocol["outputs"]) for _ in seeds_of(recipe)])
    load_weights(members, run.weights)
    return _detector(members, recipe, memory)


@dataclass(frozen=True, eq=False)
class Spectra:
    """Log-mel spectrograms of recordings, the windows of each end to end; made anew each time they are gone through.

    Args:
        hearing: The recordings.
        rows: Which of them, in this order.
    """

    hearing: Hearing
    rows: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray]:
        """One `(bands, frames)` a recording, dB."""
        mel, owner = LogMel(), self.hearing.prepared.window_record
        for row in self.rows:
            waves = self.hearing.prepared.store.take(np.flatnonzero(owner == row))
            yield np.concatenate(list(mel(torch.from_numpy(waves)).numpy()), axis=1)


def baselines(hearing: Hearing) -> dict[str, np.ndarray]:
    """Score of every tested recording by every baseline, fitted on the training recordings, `(N,)` each."""
    train, classes = hearing.parts["train"], hearing.classes
    name = np.array(classes.machines)[np.maximum(classes.machine, 0)]
    tested = np.concatenate([hearing.parts["valid"], hearing.parts["internal"]])
    found: dict[str, np.ndarray] = {}
    with bar("baselines") as progress:
        for count, (label, make) in enumerate(BASELINES.items(), start=1):
            fit_on = make().fit(Spectra(hearing, train), name[train], hearing.column("domain")[train])
            found[label] = np.full(len(hearing.cohort), np.nan)
            found[label][tested] = fit_on.score(Spectra(hearing, tested), name[tested])
            progress(count, len(BASELINES))
    return found
