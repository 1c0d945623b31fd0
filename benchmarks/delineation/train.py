"""Trains the network behind `signal.waves`; development code, needs torch and LUDB.

A U-Net of one dimension names each 4 ms of a lead: nothing, P, QRS or T. It learns from all twelve leads of each
recording, where the cardiologists marked: the first and the last cycle have no marks and count for nothing. What it
sees is bent: cut, stretched, scaled, turned over, with wander, mains, noise; some recordings lose their P waves for
the waves of fibrillation, and some are drawn from Gaussians whose bounds are 2.5 widths from their centres.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import wfdb
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.signal.delineator import RATE, prepared
from stethos.types import Signal

WINDOW = 1280  # samples, 5.1 s
STEPS = 3000
UNKNOWN = -1
CLASS = {"p": 1, "N": 2, "t": 3}
CHANNELS = (12, 16, 20, 24, 32, 40)
TAPS = (9, 7, 7, 5, 5, 5)
DRAWN_SHARE = 0.15
FIBRILLATING_SHARE = 0.12
FIRST_SHARE = 0.3  # of lead I among real windows: it is what `waves` is for, and marks differ by lead


@dataclass(frozen=True, eq=False)
class Lead:
    """One lead, prepared, and its marks.

    Args:
        record: Number of the recording.
        name: Such as "i".
        trace: At `RATE`, `(T,)`.
        label: 0 nothing, 1 P, 2 QRS, 3 T, −1 not known, `(T,)`.
    """

    record: int
    name: str
    trace: np.ndarray
    label: np.ndarray


def records_of(folder: Path) -> list[int]:
    """Numbers of the recordings of LUDB in a folder, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.hea"))


def leads_of(folder: Path, record: int) -> list[Lead]:
    """All leads of a recording."""
    path = str(folder / str(record))
    held = wfdb.rdrecord(path)
    leads = []
    for name, values in zip(held.sig_name, held.p_signal.T, strict=True):
        trace = prepared(Signal(values[None], held.fs, (name,), "mV"))
        marks = wfdb.rdann(path, name)
        leads.append(Lead(record, name, trace, labels(marks, len(trace), held.fs)))
    return leads


def labels(marks: wfdb.Annotation, count: int, rate: float) -> np.ndarray:
    """What each sample of a lead is, `(count,)`; unknown outside the marks, and near a wave without both its bounds."""
    label = np.full(count, UNKNOWN, np.int64)
    at = np.asarray(marks.sample) * RATE / rate
    label[int(np.ceil(at[0])) : int(at[-1]) + 1] = 0
    symbols = list(marks.symbol)
    for i, symbol in enumerate(symbols):
        if symbol not in CLASS:
            continue
        start = at[i - 1] if i and symbols[i - 1] == "(" else None
        stop = at[i + 1] if i + 1 < len(symbols) and symbols[i + 1] == ")" else None
        if start is None or stop is None:
            reach = round(0.15 * RATE)
            label[max(0, int(at[i]) - reach) : int(at[i]) + reach] = UNKNOWN
        else:
            label[int(np.ceil(start)) : int(stop) + 1] = CLASS[symbol]
    return label


class Net(nn.Module):
    """The U-Net; `folded` gives it as plain arrays, the batch norms within the weights."""

    def __init__(self) -> None:
        super().__init__()
        wide = (1, *CHANNELS)
        self.down = nn.ModuleList(_layer(wide[i], wide[i + 1], TAPS[i]) for i in range(len(CHANNELS)))
        self.middle = _layer(CHANNELS[-1], CHANNELS[-1], TAPS[-1])
        self.up = nn.ModuleList(
            _layer(CHANNELS[i + 1] + CHANNELS[i], CHANNELS[i], TAPS[i]) for i in reversed(range(len(CHANNELS) - 1))
        )
        self.last = nn.Conv1d(CHANNELS[0], 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, 4, T)` of traces `(B, 1, T)`; T is a multiple of 32."""
        kept = []
        for layer in self.down[:-1]:
            kept.append(layer(x))  # (B, C, T)
            x = F.max_pool1d(kept[-1], 2)  # (B, C, T / 2)
        x = self.middle(self.down[-1](x))
        for layer, aside in zip(self.up, reversed(kept), strict=True):
            x = layer(torch.cat([x.repeat_interleave(2, dim=2), aside], dim=1))
        return self.last(x)

    def folded(self) -> dict[str, np.ndarray]:
        """Weights `w0, w1, …` as (taps, out, in) and biases `b0, b1, …` in float16."""
        held: dict[str, np.ndarray] = {}
        for i, layer in enumerate([*self.down, self.middle, *self.up]):
            conv, norm = layer[0], layer[1]
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            held[f"w{i}"] = _half((conv.weight * gain[:, None, None]).permute(2, 0, 1))
            held[f"b{i}"] = _half(norm.bias - norm.running_mean * gain)
        held[f"w{i + 1}"], held[f"b{i + 1}"] = _half(self.last.weight.permute(2, 0, 1)), _half(self.last.bias)
        return held


def _layer(before: int, after: int, taps: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(before, after, taps, padding=taps // 2, bias=False), nn.BatchNorm1d(after), nn.ReLU()
    )


def _half(values: Tensor) -> np.ndarray:
    return values.detach().numpy().astype(np.float16)


def example(leads: list[Lead], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A window of a random lead, bent, and its labels, both `(WINDOW,)`."""
    if generator.random() < DRAWN_SHARE:
        trace, label = drawn(generator)
    else:
        first = [lead for lead in leads if lead.name == "i"] if generator.random() < FIRST_SHARE else leads
        trace, label = stretched(first[generator.integers(len(first))], generator)
    if generator.random() < FIBRILLATING_SHARE:
        trace, label = fibrillating(trace, label, generator)
    return disturbed(trace, generator), label


def stretched(lead: Lead, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A window of a lead, faster or slower by up to a fifth."""
    speed = np.exp(generator.uniform(-0.2, 0.2))
    start = generator.uniform(-0.1, 1.1) * max(0.0, len(lead.trace) - WINDOW * speed)
    at = np.clip(start, 0, len(lead.trace) - 1) + speed * np.arange(WINDOW)
    trace = np.interp(at, np.arange(len(lead.trace)), lead.trace, right=0.0)
    nearest = np.rint(at).astype(np.int64)
    label = np.where(nearest < len(lead.label), lead.label[np.minimum(nearest, len(lead.label) - 1)], UNKNOWN)
    return trace, label


def drawn(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Beats of Gaussian waves, in units of the height of R."""
    uniform = generator.uniform
    time, rr = np.arange(WINDOW) / RATE, uniform(0.45, 1.4)
    irregular = uniform(0.1, 0.3) if generator.random() < 0.2 else 0.03
    wide = np.exp(uniform(-0.35, 0.7))
    short = min(1.0, np.sqrt(rr / 0.9))
    sign = 1.0 if generator.random() < 0.85 else -1.0
    shapes = [  # class, height, centre (s), width (s)
        (2, uniform(-0.2, 0), -0.025 * wide, 0.008 * wide),
        (2, 1.0, 0.0, 0.011 * wide),
        (2, uniform(-0.5, 0), 0.028 * wide, 0.010 * wide),
        (3, sign * np.exp(uniform(-2.5, 0.2)), uniform(0.24, 0.34) * short, uniform(0.025, 0.06) * short),
    ]
    if generator.random() < 0.75:
        shapes.append((1, uniform(0.04, 0.25), -uniform(0.13, 0.22) * short, uniform(0.014, 0.026)))
    trace, label = np.zeros(WINDOW), np.zeros(WINDOW, np.int64)
    beats = np.cumsum(rr * np.exp(irregular * generator.standard_normal(16))) - rr * 1.5
    for kind, height, centre, width in shapes:
        for beat in beats:
            away = (time - beat - centre) / width
            trace += height * np.exp(-0.5 * away**2)
            inside = (np.abs(away) <= 2.5) & ((label == 0) | (kind == 2))
            label[inside if abs(height) > 0.02 else np.zeros_like(inside)] = kind
    return trace, label


def fibrillating(trace: np.ndarray, label: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Without P waves, with waves of fibrillation, 4 to 9 a second and of wandering frequency and size."""
    trace, wave = trace.copy(), label == 1
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wave.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        first, last = max(0, start - 3), min(WINDOW - 1, stop + 2)
        trace[first : last + 1] = np.linspace(trace[first], trace[last], last - first + 1)
    known = np.where(label == UNKNOWN, UNKNOWN, np.where(wave, 0, label))
    knots = np.arange(0, WINDOW + 125, 125)
    steps = np.arange(WINDOW)
    frequency = np.interp(steps, knots, generator.uniform(4.5, 8.5) + 0.8 * generator.standard_normal(len(knots)))
    size = np.interp(steps, knots, np.exp(0.4 * generator.standard_normal(len(knots))))
    phase = 2 * np.pi * (np.cumsum(frequency) / RATE + generator.random())
    height = np.exp(generator.uniform(np.log(0.005), np.log(0.12)))
    return trace + height * size * (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.7)), known


def disturbed(trace: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turned over now and then, scaled, with wander, mains and noise; sometimes blurred."""
    time = np.arange(WINDOW) / RATE
    sign = -1.0 if generator.random() < 0.15 else 1.0
    trace = sign * trace * np.exp(0.25 * generator.standard_normal())
    for _ in range(2):
        height = generator.exponential(0.05)
        trace = trace + height * np.sin(2 * np.pi * (generator.uniform(0.1, 0.8) * time + generator.random()))
    if generator.random() < 0.3:
        mains = generator.choice([50.0, 60.0])
        trace = trace + generator.exponential(0.02) * np.sin(2 * np.pi * (mains * time + generator.random()))
    if generator.random() < 0.6:
        smooth = np.convolve(generator.standard_normal(WINDOW + 4), np.full(5, 0.45), mode="valid")
        noise = np.where(generator.random() < 0.5, smooth, generator.standard_normal(WINDOW))
        swell = np.interp(time, [0, 1, 2, 3, 4, 5.2], np.exp(0.5 * generator.standard_normal(6)))
        trace = trace + np.exp(generator.uniform(np.log(0.003), np.log(0.08))) * swell * noise
    if generator.random() < 0.15:
        width = generator.choice([3, 5])
        trace = np.convolve(trace, np.full(width, 1 / width), mode="same")
    return trace


def trained(leads: list[Lead], seed: int, steps: int, batch: int = 16, report: int = 0) -> Net:
    """A network fitted to leads; the same for the same leads and seed, on one thread."""
    torch.manual_seed(seed)
    generator, net = np.random.default_rng(seed), Net()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps, pct_start=0.2)
    total = 0.0
    for step in range(steps):
        pairs = [example(leads, generator) for _ in range(batch)]
        x = torch.tensor(np.stack([pair[0] for pair in pairs]), dtype=torch.float32)[:, None]
        loss = F.cross_entropy(net(x), torch.tensor(np.stack([pair[1] for pair in pairs])), ignore_index=UNKNOWN)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        total += float(loss.detach())
        if report and (step + 1) % report == 0:
            print(f"step {step + 1}: {total / report:.4f}", flush=True)
            total = 0.0
    return net.eval()


def main() -> None:
    """Train on all of LUDB in the folder named by STETHOS_DATA and save the weights."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("out", type=Path)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--steps", type=int, default=STEPS)
    given = asked.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["STETHOS_DATA"], "ecg", "ludb", "data")
    leads = [lead for record in records_of(folder) for lead in leads_of(folder, record)]
    np.savez(given.out, **trained(leads, given.seed, given.steps, report=200).folded())


if __name__ == "__main__":
    main()
