"""The network behind the waves: arrays against torch, the file that ships, what it needs at run time."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from test_signal_beats import beat_times, strip

from stethos.signal import delineator
from stethos.signal.delineator import NOTHING, QRS, RATE, P, T, prepared, shares
from stethos.types import Signal

ROOT = Path(__file__).parents[1]
TIMES = beat_times(70, 10)


@pytest.fixture(scope="module")
def training():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return import_module("benchmarks.delineation.train")


@pytest.mark.parametrize("count", [640, 1250, 2501])
def test_plain_arrays_give_what_torch_gives(training, count):
    import torch

    torch.manual_seed(0)
    net = training.Net()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.3)
    x = np.random.default_rng(0).standard_normal(count)
    padded = torch.tensor(np.pad(x, (0, -count % delineator.STEP)), dtype=torch.float32)[None, None]
    want = torch.softmax(net.eval()(padded), dim=1)[0].detach().numpy()[:, :count]
    weights = {name: value.astype(np.float32) for name, value in net.folded().items()}
    assert want.std() > 0.05
    np.testing.assert_allclose(shares(x, weights), want, atol=0.01)  # float16 weights


def test_the_weights_that_ship_are_small():
    path = Path(delineator.__file__).with_suffix(".npz")
    assert path.stat().st_size < 200_000
    assert sum(value.size for value in delineator.trained().values()) < 60_000


def test_shares_are_probabilities_and_planted_waves_are_what_they_are():
    trace = prepared(strip(TIMES))
    share = shares(trace, delineator.trained())
    np.testing.assert_allclose(share.sum(axis=0), 1, atol=1e-5)
    for kind, centre in ((P, -0.17), (QRS, 0.0), (T, 0.28), (NOTHING, 0.5)):
        at = np.rint((TIMES[1:-1] + centre) * RATE).astype(int)
        assert (share[:, at].argmax(axis=0) == kind).all()


def test_what_the_network_sees_depends_on_neither_unit_nor_offset_nor_rate():
    seen = prepared(strip(TIMES, 500, noise=0))
    other = strip(TIMES, 1000, noise=0)
    changed = prepared(Signal(1000 * other.values + 300, 1000, ("I",), "µV"))
    assert np.abs(seen - changed)[50:-50].max() < 0.01
    assert np.ptp(seen) == pytest.approx(1, abs=0.1)


def test_waves_are_found_without_torch_and_without_neurokit():
    code = (
        "import sys\nimport numpy as np\n"
        "from stethos.signal.waves import waves\nfrom stethos.types import Signal\n"
        "t = np.arange(5000) / 500\n"
        "x = sum(np.exp(-0.5 * ((t - b) / 0.012) ** 2) for b in np.arange(0.5, 10, 0.8))\n"
        "assert np.isfinite(waves(Signal(x[None], 500.0, ('I',), 'mV')).qrs_on).all()\n"
        "assert not {'torch', 'neurokit2', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_labels_are_unknown_where_the_cardiologists_marked_nothing(training):
    from types import SimpleNamespace

    # at 500 Hz: P from 100 to 140, QRS from 180 to 220 whose end is missing, T from 300 to 400
    marks = SimpleNamespace(sample=[100, 120, 140, 180, 200, 300, 350, 400], symbol=list("(p)(N(t)"))
    label = training.labels(marks, 300, 500.0)
    assert (label[:50] == training.UNKNOWN).all()
    assert (label[201:] == training.UNKNOWN).all()
    assert (label[50:62] == 1).all()
    assert (label[62:138] == training.UNKNOWN).all()  # 150 ms on either side of R
    assert (label[138:150] == 0).all()
    assert (label[150:201] == 3).all()
