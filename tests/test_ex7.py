"""Exercise 7 as people call it: stopped and resumed, evaluated, on several processes."""

import json
import os
import random
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
import wholeness

from jaxlab import statistics
from jaxlab.cores import cores

SMALL = ["ex7", "--quick", "--epochs", "20"]


def numbers(folder):
    return json.loads((folder / "ex7" / "result.json").read_text())["numbers"]


def checkpoints_in(folder):
    """The whole ones: what Orbax is still writing has a number and a suffix."""
    return {path for path in folder.glob("*") if path.name.isdecimal()}


def write_lines(folder):
    """A data set in IDX form: lines whose height is the label, 600 to train on, 100 to test on."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 700).astype(np.uint8)
    images = np.zeros((700, 28, 28), np.uint8)
    images[np.arange(700), 2 + 2 * labels, 4:24] = 255  # a line whose height is the label
    folder.mkdir()
    for part, rows in (("train", slice(0, 600)), ("t10k", slice(600, 700))):
        for kind, array, rank in (("images-idx3", images, 3), ("labels-idx1", labels, 1)):
            values = array[rows]
            header = bytes([0, 0, 8, rank]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + values.tobytes())


@pytest.fixture
def start(python, cache, tmp_path):
    """Starts `jaxlab …` and returns at once."""
    started = []

    def run(*arguments, environment=()):
        process = subprocess.Popen(
            [python, "-I", "-m", "jaxlab", *map(str, arguments)], cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache),
                 **dict(environment)},
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_evaluate_gives_the_accuracy_of_the_saved_network(jaxlab, tmp_path):
    jaxlab("ex7", "--quick")
    first = numbers(tmp_path / "runs")
    # Neither the preset nor the options need be said again.
    done = jaxlab("ex7", "--evaluate")
    second = numbers(tmp_path / "runs")
    assert "test accuracy" in done.stdout
    # Of a smoke run no full result comes out.
    assert "a smoke run" in done.stdout
    assert json.loads((tmp_path / "runs" / "ex7" / "result.json").read_text())["quick"]
    assert second["test_accuracy"] == first["test_accuracy"]
    assert second["confusion"] == first["confusion"]
    assert second["train_seconds"] == first["train_seconds"]
    refused = jaxlab("ex7", "--resume", "--epochs", "7", status=2)
    assert "epochs 6.0, now 7.0" in refused.stderr
    write_lines(tmp_path / "lines")
    refused = jaxlab("ex7", "--resume", "--source", "auto", "--mnist-dir", "lines", status=2)
    assert "other training images" in refused.stderr


def test_a_run_is_resumed_and_evaluated_by_its_own_seeds(jaxlab, tmp_path):
    tiny = ("ex7", "--quick", "--channels", "2", "2", "2", "--batch-size", "500")
    jaxlab(*tiny, "--epochs", "1", "--networks", "3")
    mean = numbers(tmp_path / "runs")["test_accuracy"]
    jaxlab("ex7", "--evaluate", "--seed", "2")
    assert numbers(tmp_path / "runs")["test_accuracy"]["per_seed"] == mean["per_seed"][2:]
    jaxlab("ex7", "--evaluate")
    assert numbers(tmp_path / "runs")["test_accuracy"] == mean
    jaxlab(*tiny, "--epochs", "0.5", "--seed", "5", "--networks", "2")
    saved = tmp_path / "runs" / "ex7" / "checkpoints"
    assert {path.parent.name for path in saved.glob("seed-*/*")} == {"seed-5", "seed-6"}
    first = numbers(tmp_path / "runs")
    jaxlab("ex7", "--evaluate")
    record = json.loads((tmp_path / "runs" / "ex7" / "result.json").read_text())
    assert (record["config"]["seed"], record["config"]["epochs"]) == (5, 0.5)
    assert record["numbers"]["test_accuracy"] == first["test_accuracy"]
    refused = jaxlab("ex7", "--resume", "--seed", "0", status=2)
    assert "there is no checkpoint" in refused.stderr


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_killed_run_resumes_to_the_same_bits(jaxlab, start, tmp_path):
    options = [*SMALL, "--checkpoint-seconds", "0.001"]
    jaxlab(*options, "--out", "undisturbed")
    folder, steps = tmp_path / "killed" / "ex7" / "checkpoints" / "seed-0", 625
    kills, moment = 0, random.Random(0)
    process = start(*options, "--out", "killed")
    while True:
        # Wait for one more checkpoint, then a moment: in a step, in a save, anywhere.
        there = checkpoints_in(folder)
        deadline = time.monotonic() + 60
        while process.poll() is None and checkpoints_in(folder) == there:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(moment.uniform(0, 0.2))
        if process.poll() is not None or kills == 3:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        process = start("ex7", "--resume", "--out", "killed")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert kills >= 2
    assert (folder / str(steps)).is_dir()
    one, other = numbers(tmp_path / "undisturbed"), numbers(tmp_path / "killed")
    assert one["test_accuracy"] == other["test_accuracy"]
    assert one["confusion"] == other["confusion"]
    networks = (
        tmp_path / out / "ex7" / "checkpoints" / "seed-0" for out in ("undisturbed", "killed")
    )
    undisturbed, killed = map(wholeness.saved_network, networks)
    assert undisturbed == killed
    assert not list(folder.glob("*tmp*"))


def test_ctrl_c_keeps_the_last_checkpoint(start, tmp_path):
    process = start("ex7", "--quick", "--epochs", "100000", "--checkpoint-seconds", "0.1")
    folder = tmp_path / "runs" / "ex7" / "checkpoints" / "seed-0"
    deadline = time.monotonic() + 60
    while not checkpoints_in(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume goes on" in said
    assert "stopped" in said
    assert "Traceback" not in said
    assert checkpoints_in(folder)


# Only of CPUs can there be several wherever the tests run.
ON_CPU = {"JAX_PLATFORMS": "cpu"}


def test_two_processes_train_one_network(jaxlab, start, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = [
        start("ex7", "--quick", "--epochs", "2", "--out", "two",
              "--coordinator", address, "--processes", "2", "--process", n,
              environment=ON_CPU)
        for n in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "test accuracy" in said[0][0]
    assert "test accuracy" not in said[1][0]
    jaxlab("ex7", "--quick", "--epochs", "2", "--out", "one", "--devices", "1",
           environment=ON_CPU)  # fmt: skip
    one, two = numbers(tmp_path / "one"), numbers(tmp_path / "two")
    assert two["devices"] == 2
    assert one["devices"] == 1
    # Equal but for the order of sums: some images near the border may fall to the other side.
    assert abs(one["test_accuracy"]["mean"] - two["test_accuracy"]["mean"]) < 0.01


@pytest.mark.parametrize(
    ("options", "environment", "devices"),
    [
        ([], {}, max(n for n in (1, 2, 4) if n <= cores())),
        (["--devices", "0"], {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}, 2),
        (["--batch-size", "63"], {"JAX_NUM_CPU_DEVICES": "4"}, 3),
    ],
    ids=["each core", "as many as XLA has", "as many as divide a batch"],
)
def test_several_devices_by_the_command(jaxlab, tmp_path, options, environment, devices):
    jaxlab("ex7", "--quick", *options, environment={**ON_CPU, **environment})
    assert numbers(tmp_path / "runs")["devices"] == devices
    assert numbers(tmp_path / "runs")["test_accuracy"]["mean"] > 0.9


def test_a_data_set_of_ones_own_in_idx_form(jaxlab, tmp_path):
    write_lines(tmp_path / "lines")
    done = jaxlab("ex7", "--preset", "fast", "--epochs", "6", "--mnist-dir", "lines",
                  "--batch-size", "32", "--validation", "100")  # fmt: skip
    assert "another data set, not MNIST" in done.stdout
    found = numbers(tmp_path / "runs")
    assert found["examples"] == {"train": 500, "test": 100}
    assert found["test_accuracy"]["mean"] > 0.95
    assert found["val_accuracy"]["examples"] == 100
    assert "NOT MNIST" in found["source"]


def test_networks_of_several_seeds_are_told_with_an_interval(jaxlab, tmp_path):
    jaxlab("ex7", "--quick", "--networks", "2", "--epochs", "3")
    accuracy = numbers(tmp_path / "runs")["test_accuracy"]
    assert len(accuracy["per_seed"]) == 2
    assert accuracy == statistics.over_seeds(accuracy["per_seed"], accuracy["examples"])
    assert len(list((tmp_path / "runs/ex7/checkpoints").iterdir())) == 2


def test_training_that_diverges_says_so(jaxlab, tmp_path):
    done = jaxlab("ex7", "--quick", "--epochs", "1", "--adam-rate", "1e30", "--muon-rate", "1e30")
    assert "warning: " in done.stderr
    assert "diverged" in done.stderr
