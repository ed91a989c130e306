"""What the README says of the exercises with their defaults, run in full (minutes; slow)."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from jaxlab.exercises import ex1, ex2, ex3, ex4, ex5, ex6, ex7

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("standard_promotion")]


def holds(check):
    """What the README says of a gradient check, in all and by block."""
    for row in (check, *check["blocks"].values()):
        assert row["diff_finite_difference"] < 1e-9
        assert row["diff_complex_step"] < 1e-15
        assert row["diff_autograd"] < 1e-15
        assert row["taylor_order"] == pytest.approx(2, abs=0.01)


def test_exercise_1_checks_the_gradient():
    for seed in range(3):
        result = ex1.run(ex1.Config(seed=seed))
        assert result.problems == []
        holds(result.numbers)


def test_exercise_2_classifies_digits():
    result = ex2.run(ex2.Config())
    assert result.problems == []
    assert result.numbers["test_accuracy"]["mean"] >= 0.965
    assert min(result.numbers["test_accuracy"]["per_seed"]) >= 0.955
    assert result.numbers["test_accuracy"]["examples"] == 2000


def test_exercise_2_also_by_full_batch_lbfgs():
    result = ex2.run(ex2.Config(method="lbfgs", hidden=100, networks=3, iterations=200))
    assert result.problems == []
    assert min(result.numbers["test_accuracy"]["per_seed"]) >= 0.91


def test_exercise_3_checks_a_real_autoencoder():
    result = ex3.run(ex3.Config())
    assert result.problems == []
    holds(result.numbers)
    holds(result.numbers["digits"])


def test_exercise_4_reconstructs_better_than_pca():
    result = ex4.run(ex4.Config())
    assert result.problems == []
    at_64 = result.numbers["by_hidden_units"]["64"]
    assert at_64["test_mse"] <= 0.60 * at_64["pca_test_mse"]


def test_exercise_5_shows_bias_and_variance_falling():
    numbers = ex5.run(ex5.Config()).numbers
    assert len(numbers["hidden_units"]) == 10
    assert numbers["bias_squared"][0] > 2 * numbers["bias_squared"][-1] > 0
    assert numbers["variance"][0] > 2 * numbers["variance"][-1] > 0
    assert numbers["val_accuracy"][-1]["mean"] >= 0.95
    assert numbers["chosen"] < numbers["hidden_units"][-1]  # the best lies inside what was tried


def test_exercise_6_compares_pixels_and_features():
    result = ex6.run(ex6.Config())
    assert result.problems == []
    assert result.numbers["raw_accuracy"]["mean"] >= 0.90
    # Which size is chosen, and by how little it differs, changes with the last bits of a machine.
    assert result.numbers["p_value"] > 0.05
    assert result.numbers["mcnemar"]["25"]["p_value"] < 1e-4


@pytest.mark.skipif(
    "JAXLAB_MNIST" not in os.environ,
    reason="set JAXLAB_MNIST to the folder of MNIST's original files",
)
@pytest.mark.parametrize(
    ("preset", "networks", "accuracy"), [("fast", 5, 0.991), ("short", 3, 0.994), ("cpu", 3, 0.996)]
)
def test_exercise_7_reaches_what_its_presets_promise(preset, networks, accuracy):
    defaults = ex7.defaults(["--preset", preset])
    config = replace(
        defaults, networks=networks, mnist_dir=Path(os.environ["JAXLAB_MNIST"]), checkpoints=None
    )
    result = ex7.run(config)
    assert result.problems == []
    assert result.numbers["test_accuracy"]["mean"] >= accuracy
    assert result.numbers["examples"] == {"train": 60_000, "test": 10_000}
