"""The plug-in's two methods, on an encoder as it comes out of a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pulses import feet_at, pulse_of

from stethos.errors import QualityError, RunError
from stethos.ports import ppg_bench
from stethos.ports.ppg_bench import Encoder, ModelPort, yaml_for
from stethos.systems import cap

SMALL = replace(cap.tiny(), width=32, layers=1, feedforward=32, space=16, records="none")


@pytest.fixture
def port(monkeypatch):
    torch.manual_seed(0)
    model = cap.CAP(SMALL).eval()
    monkeypatch.setattr(ppg_bench, "load", lambda folder: model)
    return ModelPort({"run": "runs/pre", "fs": 125})


def test_windows_become_rows_of_the_width_that_is_declared(port):
    batch = np.stack([pulse_of(feet_at(rate, 10), 125, 10, noise=0.01).values for rate in (60, 80)])
    x = port.prepare_batch(batch, {"fs": 125}, "cpu")
    encoder = port.load_encoder()
    with torch.inference_mode():
        rows = encoder(x)
    assert x.shape == (2, 1, 2, 1200)
    assert rows.shape == (2, encoder.width) == (2, 48)
    flat = port.prepare_batch(torch.from_numpy(batch[:, 0]), {"fs": 125}, "cpu")
    assert torch.equal(flat, x)


def test_a_window_without_a_pulse_is_invalid_and_a_batch_of_them_is_refused(port):
    good = pulse_of(feet_at(60, 10), 125, 10, noise=0.01).values[0]
    x = port.prepare_batch(np.stack([good, np.ones_like(good)]), {"fs": 125}, "cpu")
    assert x[1].abs().sum() == 0
    with torch.inference_mode():
        assert torch.isfinite(port.load_encoder()(x)).all()
    with pytest.raises(QualityError, match="needs a window with a pulse"):
        port.prepare_batch(np.ones((2, 1250)), {"fs": 125}, "cpu")


def test_the_settings_name_the_port_the_rate_and_the_width(port, tmp_path):
    text = yaml_for(tmp_path / "a: b", 125.0)
    assert f'run: "{tmp_path}/a: b"\n' in text
    assert "port: stethos.ports.ppg_bench:ModelPort" in text
    assert "embedding_dim: 48" in text
    assert "fs: 125\n" in text


def test_a_run_without_a_pulse_encoder_is_refused():
    with pytest.raises(RunError, match="holds no encoder of a pulse"):
        Encoder(torch.nn.Linear(2, 2))


def test_the_harness_is_never_imported():
    import sys

    assert not any(name.split(".")[0] == "ppg_bench" for name in sys.modules)
