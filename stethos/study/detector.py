"""A finished detector: networks of several seeds, and the normal recordings that they compare a new one with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import ChannelError, RunError
from stethos.io.files import write_atomic
from stethos.signal.clip import ClipWindows
from stethos.study import backends
from stethos.study.ensemble import scorer
from stethos.study.own_class import own_class
from stethos.types import Run, Signal

USUAL = 8  # recordings behind the usual levels of a machine


@dataclass(frozen=True, eq=False)
class Memory:
    """Normals that every network has heard.

    Args:
        embedding: One array a network, `(N, D)` each.
        machine: Place of the machine of each recording among `machines`, `(N,)`.
        domain: "source", "target" or "", `(N,)`.
        record: What each recording is called, `(N,)`.
        machines: Machine and section, such as "fan/id_00".
        owner: Machine of every class of the network, `(K,)`.
        threshold: Score above which a recording of each machine is called anomalous, `(machines,)`.
        usual: Name of a machine → usual levels of its normals, as `explain.patches.usual_levels` gives them.
    """

    embedding: tuple[np.ndarray, ...]
    machine: np.ndarray
    domain: np.ndarray
    record: np.ndarray
    machines: tuple[str, ...]
    owner: np.ndarray
    threshold: np.ndarray
    usual: Mapping[str, np.ndarray] = field(default_factory=dict)

    def save(self, run: Run) -> None:
        """Keep it with the run, among what is not shared: it holds a row for every recording."""
        arrays: dict[str, Any] = {f"embedding-{k}": item.astype(np.float32) for k, item in enumerate(self.embedding)}
        arrays |= {name: getattr(self, name) for name in ("machine", "domain", "record", "owner", "threshold")}
        arrays |= {f"usual-{self.machines.index(name)}": item.astype(np.float32) for name, item in self.usual.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, machines=np.array(self.machines), **arrays)
        write_atomic(run.private / "memory.npz", buffer.getvalue())

    @staticmethod
    def load(run: Run) -> Memory:
        """What `save` kept.

        Raises:
            RunError: The training has not finished, or the run was shared without its private part.
        """
        path = run.private / "memory.npz"
        if not path.is_file():
            raise RunError(
                f"{run.folder} holds no private/memory.npz, the normals to compare with: finish its training with "
                "the same command, or copy the folder with its private part"
            )
        with np.load(path, allow_pickle=False) as file:
            count = sum(name.startswith("embedding-") for name in file.files)
            every = tuple(file[f"embedding-{k}"].astype(np.float64) for k in range(count))
            rest = {name: file[name] for name in ("machine", "domain", "record", "owner", "threshold")}
            machines = tuple(file["machines"].tolist())
            usual = {name: file[key] for k, name in enumerate(machines) if (key := f"usual-{k}") in file.files}
            return Memory(every, machines=machines, **rest, usual=usual)

    def with_machine(
        self, name: str, embedding: Sequence[np.ndarray], threshold: float, usual: np.ndarray | None = None
    ) -> Memory:
        """The same with one more machine, or with its normals replaced.

        Args:
            name: Of the machine.
            embedding: Its normals, one array a network, `(n, D)` each.
            threshold: Score above which it is called anomalous.
            usual: Usual levels of its normals; None where they are not known.
        """
        kept = self.machine != (self.machines.index(name) if name in self.machines else -2)
        machines = self.machines if name in self.machines else (*self.machines, name)
        place, count = machines.index(name), len(embedding[0])
        limits = np.append(self.threshold, np.full(len(machines) - len(self.machines), np.nan))
        limits[place] = threshold
        return replace(
            self,
            embedding=tuple(
                np.concatenate([old[kept], new]) for old, new in zip(self.embedding, embedding, strict=True)
            ),
            machine=np.append(self.machine[kept], np.full(count, place)),
            domain=np.append(self.domain[kept], np.full(count, "")),
            record=np.append(self.record[kept], [f"{name}, enrolled {number}" for number in range(1, count + 1)]),
            machines=machines,
            threshold=limits,
            usual={key: item for key, item in self.usual.items() if key != name}
            | ({} if usual is None else {name: usual}),
        )


class Detector(nn.Module):
    """Networks that listen, with the back end that judges.

    Args:
        members: One a seed, each with `prepare` and `embed`.
        windows: How a recording is cut.
        memory: Normals to compare with.
        backend: Name of the back end.
        scale: Factor of the cosines, for the back ends that ask for the own class.
        margin: Angle of the margin, in radians.
    """

    def __init__(
        self, members: Sequence[nn.Module], windows: ClipWindows, memory: Memory, backend: str, scale: float = 0.0,
        margin: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.members = nn.ModuleList(members)
        self.windows, self.memory, self.backend = windows, memory, backend
        self.scale, self.margin = scale, margin
        self._fitted = self._fit()

    def _fit(self) -> list[Any]:
        if self.backend not in backends.BACKENDS:
            return []
        memory, make = self.memory, backends.BACKENDS[self.backend]
        return [make().fit(item, memory.machine, memory.domain) for item in memory.embedding]

    @property
    def fitted(self) -> Sequence[Any]:
        """The back end of each network, fitted on the normals; empty where the networks are asked for the own class."""
        return self._fitted

    def prepare(self, signal: Signal) -> Tensor:
        """A recording of any length to the windows that the networks read, `(W, 1, T)`."""
        return torch.from_numpy(self.windows.apply(signal))

    def embed(self, signal: Signal) -> np.ndarray:
        """A recording of any length to one vector: the networks' mean over its windows, end to end, `(S·D,)`."""
        return np.concatenate(self.heard(self.prepare(signal).numpy()))

    def heard(self, windows: np.ndarray) -> list[np.ndarray]:
        """Mean embedding of the windows of one recording, one `(D,)` a network."""
        return [scorer(member.embed)(windows).mean(0) for member in self.members]  # type: ignore[arg-type]

    def machine_of(self, name: str = "") -> int:
        """Place of a machine among those that are known; the only one where no name is given.

        Raises:
            ChannelError: The machine is unknown, or several are known and none is named.
        """
        known = self.memory.machines
        if not name and len(known) == 1:
            return 0
        if name not in known:
            raise ChannelError(
                f"needs one of the machines {', '.join(known)}; got {name or 'none'}: name it with --machine, or "
                "enrol a new one"
            )
        return known.index(name)

    def judge(self, every: Sequence[np.ndarray], machine: int) -> np.ndarray:
        """Anomaly score of embedded recordings of one machine: the mean over the networks, `(N,)`.

        Args:
            every: Embeddings of the recordings, one `(N, D)` a network.
            machine: Place of the machine.
        """
        code = np.full(len(every[0]), machine)
        if self._fitted:
            return np.mean([fit.score(item, code) for fit, item in zip(self._fitted, every, strict=True)], axis=0)
        angle = self.margin if self.backend == "own-class-margin" else 0.0
        centres = [cast(Tensor, member.centres).detach().double().numpy() for member in self.members]
        cosines = [item @ centre.T for item, centre in zip(every, centres, strict=True)]
        return np.mean([own_class(item, self.memory.owner, code, self.scale, angle) for item in cosines], axis=0)

    def score(self, x: Tensor, machine: str = "") -> Tensor:
        """Windows `(W, 1, T)` of one machine to an anomaly score each, `(W, 1)`; higher is more anomalous.

        Args:
            x: From `prepare`.
            machine: Such as "fan/id_00"; needless where one is known only.

        Raises:
            ChannelError: The machine is unknown, or several are known and none is named.
        """
        return torch.from_numpy(self.scores_of(x.numpy(), machine))[:, None]

    def scores_of(self, windows: np.ndarray, machine: str = "") -> np.ndarray:
        """The same of arrays, `(W, 1, T)` to `(W,)`."""
        place = self.machine_of(machine)
        every = [scorer(member.embed)(windows) for member in self.members]  # type: ignore[arg-type]
        return self.judge(every, place)

    def remembering(self, memory: Memory) -> Detector:
        """The same networks with other normals."""
        return Detector(list(self.members), self.windows, memory, self.backend, self.scale, self.margin).eval()

    def nearest(self, every: Sequence[np.ndarray], machine: int) -> int:
        """Row of the normal of a machine that is nearest to one recording, by the first network.

        Args:
            every: Embedding of the recording, one `(D,)` a network.
            machine: Place of the machine.
        """
        own = np.flatnonzero(self.memory.machine == machine)
        return int(own[np.argmin(np.linalg.norm(self.memory.embedding[0][own] - every[0], axis=1))])
