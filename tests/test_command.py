"""The commands as people call them: from an installed wheel, in an empty folder."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "ex1": {"differences", "steps"},
    "ex2": {"learning_curves", "confusion", "misclassified", "hidden_units"},
    "ex3": {"differences"},
    "ex4": {"reconstructions", "error_by_hidden_units", "error_by_iterations"},
    "ex5": {"accuracies", "bias_variance"},
    "ex6": {"accuracies", "validation"},
    "ex7": {"learning_curves", "confusion", "misclassified", "filters"},
}


def result(folder, exercise):
    return json.loads((folder / exercise / "result.json").read_text())


def test_the_wheel_is_what_runs(jaxlab, python, tmp_path):
    done = jaxlab(program=("-c", "import jaxlab; print(jaxlab.__file__)"))
    assert Path(done.stdout.strip()).is_relative_to(python.parent.parent)


def test_help_teaches_and_imports_nothing_slow(jaxlab):
    done = jaxlab("--help")
    for word in ("ex1", "ex6", "--quick", "--seed", "--out", "examples:"):
        assert word in done.stdout
    code = (
        "import sys; from jaxlab.cli import main; main(['--help']);"
        "print(sorted({'jax', 'numpy', 'matplotlib', 'optax', 'tyro'} & set(sys.modules)))"
    )
    assert jaxlab(program=("-c", code)).stdout.endswith("[]\n")
    assert "--hidden" in jaxlab("ex2", "--help").stdout


def test_a_reader_that_has_gone_costs_no_result(python, cache, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [python, "-I", "-m", "jaxlab", "ex1", "--quick"], cwd=tmp_path, stdout=writing,
        stderr=subprocess.PIPE, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert result(tmp_path / "runs", "ex1")["exercise"] == "ex1"


@pytest.mark.parametrize("exercise", sorted(FIGURES))
def test_quick_run_leaves_a_whole_result(quick_lab, exercise):
    folder, done = quick_lab
    record = result(folder, exercise)
    assert record["exercise"] == exercise
    assert record["seconds"] > 0
    assert {"python", "device", "packages"} <= record["environment"].keys()
    assert record["config"]["seed"] == 0
    assert set(record["figures"]) == FIGURES[exercise]
    for names in record["figures"].values():
        for name in names:
            assert (folder / exercise / name).stat().st_size > 1000
    assert not list(folder.rglob(".writing*"))
    # Plain text: no control characters where the output is not a terminal.
    assert "\x1b" not in done.stdout + done.stderr
    assert f"{exercise}/result.json" in done.stdout
    CHECKS[exercise](record["numbers"])


def check_1(numbers):
    for row in (numbers, *numbers["blocks"].values()):
        assert row["diff_finite_difference"] < 1e-9
        assert row["diff_complex_step"] < 1e-15
        assert row["diff_autograd"] < 1e-15
        assert abs(row["taylor_order"] - 2) < 0.01
    assert list(numbers["blocks"]) == ["W1", "b1", "W2", "b2"]


def check_accuracy(entry, networks, at_least):
    assert set(entry) == {"mean", "ci95", "per_seed", "examples"}
    assert len(entry["per_seed"]) == networks
    assert entry["ci95"][0] <= entry["mean"] <= entry["ci95"][1]
    assert entry["mean"] == pytest.approx(np.mean(entry["per_seed"]))
    assert entry["mean"] >= at_least


def check_2(numbers):
    for part in ("train", "val", "test"):
        check_accuracy(numbers[f"{part}_accuracy"], 3, 0.6)
    assert np.sum(numbers["confusion"]) == numbers["test_accuracy"]["examples"] == 200


def check_3(numbers):
    check_1(numbers)
    assert numbers["digits"]["sizes"] == [784, 64, 784]
    assert numbers["digits"]["diff_finite_difference"] < 1e-7
    assert numbers["digits"]["diff_complex_step"] < 1e-14
    assert numbers["digits"]["diff_autograd"] < 1e-14
    assert numbers["digits"]["blocks"]["W1"]["checked"] == 10


def check_4(numbers):
    assert numbers["hidden_units"] in (8, 16)
    assert numbers["iterations"] > 0
    assert 0 < numbers["pca_test_mse"] < numbers["test_mse"] < 0.06
    lowest = min(numbers["search"], key=lambda row: row["val_mse"])
    assert lowest["hidden_units"] == numbers["hidden_units"]
    assert lowest["iterations"] == numbers["iterations"]


def check_5(numbers):
    sizes = numbers["hidden_units"]
    assert len(sizes) == 10
    for part in ("train", "val", "test"):
        assert len(numbers[f"{part}_accuracy"]) == 10
        check_accuracy(numbers[f"{part}_accuracy"][-1], 2, 0.3)
    best = max(range(10), key=lambda i: numbers["val_accuracy"][i]["mean"])
    assert numbers["chosen"] == sizes[best]
    assert all(b > 0 for b in numbers["bias_squared"])
    assert all(v > 0 for v in numbers["variance"])


def check_6(numbers):
    check_accuracy(numbers["raw_accuracy"], 1, 0.7)
    assert str(numbers["chosen"]) in numbers["autoencoder_accuracy"]
    assert 0 <= numbers["p_value"] <= 1
    assert set(numbers["mcnemar"]) == set(numbers["autoencoder_accuracy"])
    for size, row in numbers["mcnemar"].items():
        # The images that only one has right make up the difference of the accuracies.
        gain = numbers["autoencoder_accuracy"][size]["mean"] - numbers["raw_accuracy"]["mean"]
        assert row["only_features_right"] - row["only_raw_right"] == pytest.approx(200 * gain)
    assert numbers["mcnemar"][str(numbers["chosen"])]["p_value"] == numbers["p_value"]
    assert numbers["gradient_check"]["diff_autograd"] < 1e-15
    assert len(numbers["discussion"]) >= 3


def check_7(numbers):
    check_accuracy(numbers["test_accuracy"], 1, 0.9)
    assert np.sum(numbers["confusion"]) == numbers["examples"]["test"] == 2000
    assert numbers["examples"]["train"] == 2000
    assert numbers["parameters"] == 33914
    assert numbers["epochs"] == 6
    assert "small MNIST" in numbers["source"]
    assert numbers["train_seconds"] > 0
    assert numbers["compile_seconds"] > 0
    assert len(numbers["discussion"]) >= 3


CHECKS = {f"ex{n}": globals()[f"check_{n}"] for n in range(1, 8)}


def test_the_same_seed_gives_the_same_numbers_in_another_folder_and_without_a_cache(
    jaxlab, tmp_path
):
    jaxlab("ex2", "--quick", "--out", "a")
    jaxlab("ex2", "--quick", "--out", "b",
           environment={"JAX_ENABLE_COMPILATION_CACHE": "false"})  # fmt: skip
    jaxlab("ex2", "--quick", "--out", "c", "--seed", "1")
    a, b, c = (result(tmp_path / name, "ex2")["numbers"] for name in "abc")
    assert a == b
    assert a != c
    for figure in ("learning_curves.svg", "hidden_units.png"):
        assert (tmp_path / "a/ex2" / figure).read_bytes() == (
            tmp_path / "b/ex2" / figure
        ).read_bytes()


def test_compiled_programs_are_kept_where_the_user_keeps_caches(jaxlab, tmp_path):
    # HOME is tmp_path here. The XDG specification says to ignore a relative path.
    jaxlab("ex1", "--quick", environment={"XDG_CACHE_HOME": "caches"})
    assert list((tmp_path / ".cache/jaxlab/compiled").iterdir())
    assert not (tmp_path / "caches" / "jaxlab").exists()


def test_a_file_of_ones_own_and_full_batch_training(jaxlab, tmp_path):
    from jaxlab import load_digits

    digits = load_digits(limit=500)
    x = np.concatenate([part.x for part in (digits.train, digits.validation, digits.test)])
    y = np.concatenate([part.y for part in (digits.train, digits.validation, digits.test)])
    np.savez(tmp_path / "course.npz", X=(255 * x).astype(np.uint8).T, y=np.where(y == 0, 10, y))
    done = jaxlab("ex2", "--quick", "--data", "course.npz", "--method", "lbfgs")
    assert "course.npz" in done.stdout
    assert "10" in done.stdout
    assert result(tmp_path / "runs", "ex2")["numbers"]["test_accuracy"]["mean"] > 0.5


REFUSED = [
    (["ex9"], "there is no command 'ex9'"),
    (["ex2", "--data", "nowhere.npz"], "nowhere.npz"),
    (["ex2", "--data", "code.py"], "code.py"),
    (["ex2", "--epochs", "0"], "epochs is 0"),
    (["ex2", "--hidden", "0"], "hidden"),
    (["ex2", "--epochs", "many"], "many"),
    (["ex2", "--batch-size", "0"], "batch-size is 0"),
    (["ex2", "--learning-rate", "nan"], "learning-rate is nan"),
    (["ex2", "--shift", "100"], "shift is 100"),
    (["ex1", "--seed", "-1"], "seed is -1"),
    (["ex2", "--seed", "99999999999999999999"], "seed is"),
    (["ex2", "--limit", "3"], "limit"),
    (["ex2", "--learning-rate", "-1"], "learning-rate is -1"),
    (["ex5", "--resamples", "1"], "a variance needs two"),
    (["ex7", "--channels", "8", "8"], "channels are (8, 8)"),
    (["ex7", "--preset", "slow"], "slow"),
    (["ex7", "--resume"], "no checkpoint in runs"),
    (["ex7", "--evaluate", "--out", "elsewhere"], "no checkpoint in elsewhere"),
    (["ex7", "--quick", "--devices", "7"], "devices is 7"),
    (["ex7", "--quick", "--mnist-dir", "nowhere", "--source", "auto"], "nowhere"),
    (["ex7", "--source", "cache"], "jaxlab data fetch"),
    (["ex7", "--coordinator", "127.0.0.1:1"], "--processes and --process"),
    (["ex7", "--quick", "--checkpoint-seconds", "0"], "checkpoint-seconds"),
    (["ex1", "--nonsense", "1"], "--nonsense"),
    (["ex1", "--out", "file"], "cannot write to file"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_nonsense_is_refused_with_status_2_and_nothing_written(
    jaxlab, tmp_path, arguments, message
):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "code.py").write_text("raise SystemExit('this must never run')")
    done = jaxlab(*arguments, status=2)
    assert message in done.stderr
    assert "must never run" not in done.stderr
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/full")
def test_a_folder_that_cannot_be_made_is_refused_before_any_work(jaxlab):
    done = jaxlab("ex2", "--out", "/proc/jaxlab", status=2)
    assert "cannot write to /proc/jaxlab" in done.stderr
    assert "--out" in done.stderr


def test_scripts_take_the_same_options(jaxlab, tmp_path):
    scripts = sorted((ROOT / "scripts").glob("ex*.py"))
    assert [script.name[:3] for script in scripts] == [f"ex{n}" for n in range(1, 8)]
    done = jaxlab("--quick", "--out", "here", program=[scripts[0]])
    assert "verdict" in done.stdout
    assert result(tmp_path / "here", "ex1")["exercise"] == "ex1"
    for script in scripts:
        assert "--seed" in jaxlab("--help", program=[script]).stdout


def test_scripts_that_measure_say_what_they_do(jaxlab):
    for script in ("convnet_times.py", "convnet_recipes.py"):
        said = jaxlab("--help", program=[ROOT / "scripts" / script]).stdout
        assert "--mnist-dir" in said
        assert "| " not in said  # no table: nothing was run


def test_ctrl_c_ends_in_a_sentence(jaxlab, python, cache, tmp_path):
    run = subprocess.Popen(
        [python, "-I", "-m", "jaxlab", "ex2", "--epochs", "100000", "--networks", "1"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    time.sleep(12)  # in the middle of training
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "stopped" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("result.json"))


def test_training_that_diverges_still_leaves_a_result_that_says_so(jaxlab, tmp_path):
    for exercise in ("ex2", "ex4"):
        done = jaxlab(exercise, "--quick", "--epochs", "3", "--learning-rate", "1e30")
        assert "warning: " in done.stderr
        assert result(tmp_path / "runs", exercise)["problems"]


def test_a_terminal_without_unicode_gets_question_marks(jaxlab, tmp_path):
    done = jaxlab("ex1", program=("-X", "utf8=0", "-m", "jaxlab"),
                  environment={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})  # fmt: skip
    assert "right" in done.stdout
    assert result(tmp_path / "runs", "ex1")["numbers"]["blocks"]


def test_a_smoke_run_is_marked_as_one(jaxlab, tmp_path):
    assert "smoke run" in jaxlab("ex1", "--quick").stdout
    assert result(tmp_path / "runs", "ex1")["quick"] is True
    assert "smoke run" not in jaxlab("ex1").stdout
    assert result(tmp_path / "runs", "ex1")["quick"] is False
