"""Clustered bootstrap of the AUROC: one sort and running sums, against a plain loop over scikit-learn.

Both draw the same subjects, 2000 times from 2000 subjects with 5000 rows. The loop is timed on fewer draws and scaled:
its time is proportional to their number. The two are timed in turn in one process, on one thread, and the shortest
time of each counts.
"""

import json
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from stethos.metrics import resample
from stethos.metrics.clusters import Clusters
from stethos.metrics.interval import bootstrap_auroc

SUBJECTS, ROWS, DRAWS, LOOP_DRAWS, ROUNDS = 2000, 5000, 2000, 100, 5


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, score and subject of correlated rows."""
    generator = np.random.default_rng(seed)
    subject = generator.integers(0, SUBJECTS, ROWS)
    truth = (generator.random(ROWS) < 0.1).astype(np.float64)
    score = generator.normal(size=SUBJECTS)[subject] + generator.normal(size=ROWS) + truth
    return truth, score, subject


def loop(truth: np.ndarray, score: np.ndarray, subject: np.ndarray, times: np.ndarray) -> np.ndarray:
    """AUROC of each draw by repeating rows and calling scikit-learn."""
    member = np.unique(subject, return_inverse=True)[1]
    number = np.arange(len(subject))
    drawn = []
    for draw in times:
        row = np.repeat(number, draw[member])
        drawn.append(roc_auc_score(truth[row], score[row]))
    return np.array(drawn)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """How many times as fast, and the largest difference between the two in any draw."""
    truth, score, subject = rows()
    clusters = Clusters.of(subject)
    times = resample.multiplicity(clusters.count, LOOP_DRAWS, np.random.default_rng(1))
    with threadpool_limits(1):
        ours, plain = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(lambda: bootstrap_auroc(truth, score, subject, draws=DRAWS)))
            plain.append(seconds(lambda: loop(truth, score, subject, times)))
    fast = resample.of_auroc(truth == 1, score, clusters)(times)[:, 0]
    return {
        "bootstrap.ratio": min(plain) * DRAWS / LOOP_DRAWS / min(ours),
        "bootstrap.difference": float(np.abs(fast - loop(truth, score, subject, times)).max()),
    }


def main() -> dict[str, float]:
    """Measure, print and return."""
    result = measure()
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
