"""OS-SCL as it is by default against the published system; log-mel spectrograms against librosa.

Clips of 10 s at 16 kHz, 41 classes, batches of 16, one thread. Each recipe trains in its own precision, by the steps of
`stethos.train.loop`: draw and mix the clips, forward, backward, AdamW, the running mean of the weights. The published
system is `reference()`, which has none of the dead weights of the published code, so the ratios say nothing of those.
The two take turns in one process; times are of its processor, and the median of several steps counts. Memory is the
difference of two peaks, of training with batches of 16 and of 4, over the difference of 12 clips; each peak is that of
a process of its own.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from stethos.nn.mel import LogMel
from stethos.study.detect import Clips, seeded
from stethos.study.ensemble import scorer
from stethos.systems.os_scl import OsScl, Recipe, batches, reference
from stethos.train.average import Average
from stethos.train.gradient import descend
from stethos.train.optimise import adamw

RECIPES = {"default": Recipe, "reference": reference}
SECONDS, RATE, CLASSES, BATCH, SMALL = 10.0, 16_000, 41, 16, 4
ROUNDS, TURNS = 5, 3  # a round is one step of the slower system and so many of the faster one
QUICK_ROUNDS = 40  # of what takes a fraction of a second
HELD = 64  # clips that are drawn from
QUIET = 60.0  # dB below the loudest of a clip, where float32 stops to tell


def noise(count: int) -> np.ndarray:
    """Clips that sound like nothing, `(count, 1, T)`: the time does not depend on what is heard."""
    samples = round(SECONDS * RATE)
    return 0.1 * np.random.default_rng(0).standard_normal((count, 1, samples), np.float32)


def trainer(name: str, batch: int) -> Callable[[], None]:
    """What makes the next training step of a recipe."""
    recipe = RECIPES[name]()
    recipe = replace(recipe, listen=replace(recipe.listen, seconds=SECONDS))
    plan = replace(recipe.schedule, batch=batch)
    recipe = replace(recipe, schedule=plan)
    model = seeded(0, lambda: OsScl(recipe, CLASSES)).train()
    heard = Clips(noise(HELD).__getitem__, np.arange(HELD) % CLASSES, CLASSES)
    draw, optimiser = batches(recipe, heard), adamw(model, plan, {})
    mean, done = Average(model, plan.ema), iter(range(plan.steps))

    def step() -> None:
        optimiser.zero_grad()
        descend(model, draw, next(done), plan)
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip or float("inf"))
        optimiser.step()
        mean.update(model)

    return step


def listener(name: str) -> Callable[[], None]:
    """What embeds a batch of clips with a recipe's network, as for scoring them."""
    model = seeded(0, lambda: OsScl(RECIPES[name](), CLASSES)).eval()
    clips, embed = noise(BATCH), scorer(model.embed)
    return lambda: embed(clips)


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int = ROUNDS) -> float:
    """How many times the processor time of the fast one the slow one takes, by turns, the first of each unseen."""
    took: tuple[list[float], list[float]] = ([], [])
    for action in (slow, fast):
        action()
    for _ in range(rounds):
        took[0].append(seconds(slow))
        took[1].extend(seconds(fast) for _ in range(TURNS))
    return float(np.median(took[0]) / np.median(took[1]))


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def peak() -> int:
    """The most memory that this process has held, kB (bytes where there is no /proc).

    Not `ru_maxrss` where there is another way: Linux lets a process begin with the peak of the one that started it.
    """
    told = Path("/proc/self/status")
    if told.is_file():
        return int(told.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def a_clip_more(name: str) -> float:
    """What one clip more in the batch adds to the peak."""
    command, root = [sys.executable, "-m", "benchmarks.sound", name], Path(__file__).parents[1]
    most = [
        int(subprocess.run([*command, str(batch)], cwd=root, check=True, capture_output=True, text=True).stdout)
        for batch in (SMALL, BATCH)
    ]
    return (most[1] - most[0]) / (BATCH - SMALL)


def librosa_mel(clips: np.ndarray) -> np.ndarray:
    import librosa

    shape = {"sr": RATE, "n_fft": 2048, "hop_length": 512, "n_mels": 128, "fmax": RATE / 2}
    power = librosa.feature.melspectrogram(y=clips[:, 0], pad_mode="constant", **shape)
    return 10 * np.log10(np.maximum(power, 1e-10))


def log_mel() -> dict[str, float]:
    """Times of librosa over ours, and the largest difference in dB where a clip is not quiet."""
    if not find_spec("librosa"):
        print("sound: librosa is not here, its log-mel is left out")
        return {}
    clips, mel = noise(BATCH), LogMel()
    waves: Tensor = torch.from_numpy(clips)
    ours, theirs = mel(waves).numpy(), librosa_mel(clips)
    loud = theirs > theirs.max(axis=(1, 2), keepdims=True) - QUIET
    return {
        "sound.log_mel.ratio": ratio(lambda: librosa_mel(clips), lambda: mel(waves), QUICK_ROUNDS),
        "sound.log_mel.difference": float(np.abs(ours - theirs)[loud].max()),
    }


def measure() -> dict[str, float]:
    """Clips per second and memory a clip of the default over the published system, in training and in scoring."""
    with threadpool_limits(1):
        result = {
            "sound.training.ratio": ratio(trainer("reference", BATCH), trainer("default", BATCH)),
            "sound.memory.ratio": a_clip_more("reference") / a_clip_more("default"),
            "sound.scoring.ratio": ratio(listener("reference"), listener("default")),
        }
        return result | log_mel()


def main(*asked: str) -> None:
    """Measure and print; with the name of a recipe and a batch, print the peak of three steps of its training."""
    if not asked:
        print(json.dumps(measure()))
        return
    with threadpool_limits(1):
        step = trainer(asked[0], int(asked[1]))
        for _ in range(3):
            step()
    print(peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
