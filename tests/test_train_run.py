import json
import os
import stat
import subprocess
import sys

import pytest

from stethos.errors import RunError
from stethos.train.run import read_config, sole_writer, start_run, write_card, write_metrics
from stethos.types import Estimate, Run

CONFIG = {
    "system": "pocket_k",
    "version": "0.1",
    "recipe": {"lr": 0.1, "schedule": {"steps": 5}, "sites": ("a",)},
}


def test_a_run_reads_back_its_config_and_tells_its_environment(tmp_path):
    run = start_run(tmp_path / "a" / "run", CONFIG)
    assert read_config(run) == json.loads(json.dumps(CONFIG))
    environment = json.loads(run.environment.read_text())
    assert "torch" in environment["packages"]
    assert environment["threads"] >= 1
    assert len(environment["started"]) == 1


def test_what_is_per_record_is_for_the_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        run = start_run(tmp_path / "run", CONFIG)
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.private.stat().st_mode) == 0o700


def test_the_same_recipe_comes_back_even_with_another_version(tmp_path):
    start_run(tmp_path, CONFIG)
    run = start_run(tmp_path, {**CONFIG, "version": "0.2"})
    assert len(json.loads(run.environment.read_text())["started"]) == 2
    assert read_config(run)["version"] == "0.1"


def test_a_changed_recipe_is_refused_with_the_difference(tmp_path):
    start_run(tmp_path, CONFIG)
    changed = {**CONFIG, "recipe": {"lr": 0.1, "schedule": {"steps": 6}, "sites": ["a"], "leads": ["I"]}}
    with pytest.raises(RunError, match=r'\(recipe.schedule.steps: 5 → 6; recipe.leads: absent → \["I"\]\)'):
        start_run(tmp_path, changed)
    assert read_config(Run(tmp_path))["recipe"]["schedule"] == {"steps": 5}


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"holds no config\.json"):
        read_config(Run(tmp_path))
    (tmp_path / "config.json").write_text('{"system": ')
    with pytest.raises(RunError, match="is not JSON"):
        read_config(Run(tmp_path))


def test_metrics_are_added_to_what_is_there(tmp_path):
    run = start_run(tmp_path, CONFIG)
    write_metrics(run, {"internal.auroc": Estimate(0.5, 0.4, 0.6, 7), "z": Estimate(1, 1, 1, 1)}, "synthetic")
    write_metrics(run, {"internal.auroc": Estimate(0.9, 0.8, float("nan"), 8)}, "real")
    assert json.loads(run.metrics.read_text()) == {
        "internal.auroc": {"value": 0.9, "low": 0.8, "high": None, "n": 8, "origin": "real"},
        "z": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1, "origin": "synthetic"},
    }


def test_the_card_is_written_as_it_is(tmp_path):
    run = start_run(tmp_path, CONFIG)
    write_card(run, "# Größe\n")
    assert run.card.read_text(encoding="utf-8") == "# Größe\n"


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_kept_out_until_the_first_is_gone_however_it_goes(tmp_path):
    run = start_run(tmp_path, CONFIG)
    lock = run.private / "lock"
    lock.write_text("4711\n")  # as left by a process that was killed
    with sole_writer(run):
        assert lock.read_text() == f"{os.getpid()}\n"
        with pytest.raises(RunError, match="wait for it, or name another folder"), sole_writer(run):
            pass
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"process {os.getpid()} trains in {tmp_path}"), sole_writer(run):
            pass
        other.kill()
        other.wait()
        with sole_writer(run):
            pass
