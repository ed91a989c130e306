"""Numbers that go wrong are noticed: never a quiet wrong number, in any exercise."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_mnist

import jaxlab
from jaxlab import results
from jaxlab.convnet.training import State
from jaxlab.data import small_mnist
from jaxlab.data.mnist import originals
from jaxlab.errors import CheckError
from jaxlab.exercises import ex1, ex2, ex3, ex4, ex5, ex6, ex7
from jaxlab.exercises.common import training_problems
from jaxlab.report.content import CONTENT

pytestmark = pytest.mark.usefixtures("usual_promotion")

TINY = {
    ex2: ex2.Config(hidden=3, networks=1, epochs=2, batch_size=20, shift=0),
    ex3: ex3.Config(digit_hidden=2, coordinates=5, examples=5),
    ex4: ex4.Config(hidden=(2, 3), fractions=(), epochs=2, batch_size=20),
    ex5: ex5.Config(hidden=(2, 3), networks=1, resamples=2, epochs=2, batch_size=20),
    ex6: ex6.Config(hidden=(3,), epochs=2, batch_size=20, softmax_iterations=10),
    ex7: ex7.Config(channels=(2, 2, 2), epochs=1.0, batch_size=10, checkpoint_seconds=float("inf")),
}
TRAINED = [ex2, ex4, ex5, ex6]
names = {"ids": lambda module: getattr(module, "__name__", "").rpartition(".")[2] or None}


def problems_of(module, **changes):
    """All problems of a tiny run, whose result must be fit for a file and for the report."""
    result = module.run(dataclasses.replace(TINY[module], **changes))
    config, numbers = (
        results._plain(dataclasses.asdict(result.config)),
        results._plain(result.numbers),
    )
    json.dumps(numbers, allow_nan=False)
    CONTENT[result.exercise](numbers, config)
    return "\n".join(result.problems)


@pytest.fixture
def file(tmp_path):
    """Writes digits of 20 × 20 pixels: train, validation and test with 40 images each."""
    arrays = small_mnist.read(small_mnist.find())
    images, labels = arrays["images"][:120, 4:24, 4:24] / 255, arrays["labels"][:120]
    parts = {"train": slice(0, 40), "val": slice(40, 80), "test": slice(80, 120)}

    def write(change=lambda arrays: None):
        x = {f"x{part}": images[rows].copy() for part, rows in parts.items()}
        y = {f"y{part}": labels[rows].copy() for part, rows in parts.items()}
        change(arrays := x | y)
        np.savez(tmp_path / "digits.npz", **arrays)
        return tmp_path / "digits.npz"

    return write


@pytest.mark.parametrize("module", TRAINED, **names)
def test_exploding_steps(file, module):
    assert problems_of(module, data=file(), learning_rate=1e30)
    said = problems_of(module, data=file(), learning_rate=1e6)
    assert "smaller --learning-rate" in said


def one_image(arrays):
    arrays["xtrain"], arrays["ytrain"] = arrays["xtrain"][:1], arrays["ytrain"][:1]


def no_seven(arrays):
    for part in ("train", "val", "test"):
        kept = arrays[f"y{part}"] != 7
        arrays[f"x{part}"], arrays[f"y{part}"] = arrays[f"x{part}"][kept], arrays[f"y{part}"][kept]


def one_class(arrays):
    arrays["ytrain"][:] = 3


def blank(arrays):
    arrays["xtrain"][:] = 0


ODD = {one_image: "a single image to train on", no_seven: "no example of 7",
       one_class: "too few examples of 0, 1, 2", blank: "40 of the images are blank"}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "change"),
    [*((module, change) for module in TRAINED for change in (one_image, no_seven)),
     (ex2, one_class), (ex2, blank), (ex3, no_seven)],
    **names,
)  # fmt: skip
def test_images_from_which_little_can_be_learned(file, module, change):
    said = problems_of(module, data=file(change))
    assert ODD[change] in said
    assert change is not blank or "hidden units do the same for every example" in said


@pytest.mark.parametrize(("wrong", "count"), [({"autoencoder of 3", "softmax on raw pixels"}, 2),
                                              ({"autoencoder of 3"}, 1), (set(), 0)])  # fmt: skip
def test_exercise_6_counts_the_trainings_that_went_wrong(file, monkeypatch, wrong, count):
    monkeypatch.setattr(
        ex6, "training_problems", lambda name, *_, **__: ["one", "two"] if name in wrong else []
    )
    result = ex6.run(dataclasses.replace(TINY[ex6], data=file(no_seven)))
    assert len(result.problems) > 2 * count  # those of the images, too
    said = " ".join(result.numbers["discussion"])
    assert (f"But {count} of these trainings went wrong" in said) == (count > 0)
    assert ("went wrong" in said) == (count > 0)


def test_exercise_4_trains_for_no_length_twice(file):
    config = dataclasses.replace(TINY[ex4], data=file(), fractions=(0.1, 0.4, 0.9))
    tried = [(r["hidden_units"], r["iterations"]) for r in ex4.run(config).numbers["search"]]
    # Two sizes, and the better one for half as long.
    assert len(tried) == len(set(tried)) == 3
    assert len(ex4.run(dataclasses.replace(config, epochs=1)).numbers["search"]) == 2


def test_an_autoencoder_that_diverged_is_not_chosen(file, monkeypatch):
    train = ex4.train_autoencoder

    def diverging(config, x, hidden, *args):
        trained = train(config, x, hidden, *args)
        return trained._replace(
            params=jax.tree.map(
                lambda leaf: leaf * (jnp.nan if hidden == 2 else 1.0), trained.params
            )
        )

    monkeypatch.setattr(ex4, "train_autoencoder", diverging)
    result = ex4.run(dataclasses.replace(TINY[ex4], data=file()))
    assert result.numbers["hidden_units"] == 3
    assert "2 hidden units, 4 iterations: training diverged" in "\n".join(result.problems)
    config, numbers = map(results._plain, (dataclasses.asdict(result.config), result.numbers))
    said = CONTENT["ex4"](numbers, config)
    assert "With 2 hidden units it diverged" in " ".join(said["text"]["discussion"])
    assert ["2", "–"] == [row[:2] for row in said["tables"]["sizes"]][1]


def test_a_shorter_training_is_chosen_where_the_longest_diverged(file, monkeypatch):
    train = ex4.train_autoencoder

    def diverging(config, x, hidden, *args):
        trained = train(config, x, hidden, *args)
        spoiled = jnp.nan if config.epochs == 4 else 1.0
        return trained._replace(params=jax.tree.map(lambda leaf: leaf * spoiled, trained.params))

    monkeypatch.setattr(ex4, "train_autoencoder", diverging)
    config = dataclasses.replace(TINY[ex4], data=file(), hidden=(2,), epochs=4, fractions=(0.5,))
    numbers = ex4.run(config).numbers
    assert numbers["iterations"] == 4  # two epochs of 40 images, 20 at a time
    assert np.isfinite(numbers["test_mse"])


@pytest.mark.parametrize("features", [9, 10, 11])
def test_a_classifier_is_one_whatever_the_number_of_its_features(features):
    x = np.random.default_rng(0).random((100, features), np.float32)
    y = np.eye(10, dtype=np.float32)[np.arange(100) % 10]
    params = jaxlab.initialize(0, (features, 10))
    answer = 0.9 * y + 0.02
    answer[:, 3] = 0.01
    (said,) = training_problems("it", params, x, y, answer, classifier=True)
    assert "never answers 3" in said
    unsure = 0.1 * y + 0.09  # every answer right, and none far from the mean
    assert training_problems("it", params, x, y, unsure, classifier=True) == []


def test_infinite_parameters_behind_finite_answers_are_noticed():
    x, y = (
        np.random.default_rng(0).random((50, 4), np.float32),
        np.eye(3, dtype=np.float32)[[0, 1] * 25],
    )
    first, second = jaxlab.initialize(0, (4, 3, 3))
    params = (first, second._replace(b=second.b + jnp.inf))
    answer = np.ones_like(y)
    (said,) = training_problems("it", params, x, y, answer, classifier=True)
    assert "diverged" in said


# --- exercise 7 ---


def idx_folder(folder, change=lambda images, labels: None):
    files = {}
    for images_name, labels_name, count in (
        (originals.TRAIN_IMAGES, originals.TRAIN_LABELS, 60),
        (originals.TEST_IMAGES, originals.TEST_LABELS, 40),
    ):
        images, labels = tiny_mnist.images(count), tiny_mnist.labels(count)
        change(images, labels)
        files |= {images_name: tiny_mnist.idx(images), labels_name: tiny_mnist.idx(labels)}
    return tiny_mnist.write(folder / "idx", files)


def only_threes(images, labels):
    labels[:] = 3


def all_alike(images, labels):
    images[:] = 7


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"adam_rate": 1e6, "muon_rate": 1e6}, "diverged"),
        (only_threes, {}, "no training image of 0, 1, 2, 4"),
        (all_alike, {}, "all training images are the same: constant, 7"),
    ],
)
def test_exercise_7(tmp_path, change, options, message):
    folder = idx_folder(tmp_path, change or (lambda images, labels: None))
    assert message in problems_of(ex7, mnist_dir=folder, **options)


def test_exercise_7_notices_weights_that_the_last_step_spoiled():
    state = State(jnp.int32(1), {"W": jnp.array([jnp.nan])}, {}, ())
    curve = {"cost": [0.5]}
    labels = tiny_mnist.labels(20)
    (said,) = ex7._problems(curve, state, labels, labels)
    assert "diverged" in said
    sound = state._replace(params={"W": jnp.array([1.0])})
    assert ex7._problems(curve, sound, labels, labels) == []
    (said,) = ex7._problems(curve, sound, np.zeros_like(labels), labels)
    assert "next to nothing was learned, 10.0 % right" in said


# --- the gradient check ---


def gradient_check(scale=1.0, m=20, change=lambda x: x):
    rng = np.random.default_rng(0)
    x, y = change(rng.random((m, 4))), np.eye(3)[rng.integers(0, 3, m)]
    params = tuple(
        jaxlab.Layer(scale * rng.standard_normal((n, k)), scale * rng.standard_normal(n))
        for k, n in ((4, 3), (3, 3))
    )
    return jaxlab.check_gradients(jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_at_no_number_is_refused(value):
    def spoil(x):
        x[3, 2] = value
        return x

    with pytest.raises(CheckError, match="not finite"):
        gradient_check(change=spoil)


def test_what_a_gradient_check_cannot_see_is_said():
    assert gradient_check().notes == ()
    (said,) = gradient_check(scale=1e6).notes  # every unit is saturated
    assert "zero in every place" in said
    assert "W1" in said
    (said,) = gradient_check(m=1).notes
    assert "a forgotten 1/m cannot be seen" in said
    (said,) = gradient_check(change=np.zeros_like).notes
    assert "The gradient of W1 is zero in every place" in said


def test_exercise_1_says_what_its_check_cannot_see():
    result = ex1.run(ex1.Config(inputs=2, hidden=2, outputs=2, examples=1))
    assert "network 2-2-2: With a single example" in "\n".join(result.problems)


def test_a_wrong_gradient_that_is_no_number_can_be_reported():
    result = ex1.run(ex1.Config(inputs=2, hidden=2, outputs=2))
    numbers, config = map(results._plain, (result.numbers, dataclasses.asdict(result.config)))
    numbers |= dict.fromkeys(("diff_finite_difference", "diff_complex_step", "diff_autograd"))
    numbers["blocks"]["W1"]["ok"] = False
    said = " ".join(CONTENT["ex1"](numbers, config)["text"]["discussion"])
    assert "not below" in said
    assert "W1 is WRONG" in said


def test_exercise_1_has_every_witness_whatever_the_size():
    numbers = ex1.run(ex1.Config(inputs=100, hidden=20, examples=10)).numbers
    for witness in ("finite_difference", "complex_step", "autograd"):
        assert numbers[f"diff_{witness}"] < 1e-9
    assert numbers["blocks"]["W1"]["checked"] == 2_000


def test_a_size_that_diverged_is_not_chosen():
    digits = jaxlab.load_digits(limit=200)
    answers = [np.zeros((len(digits.train.y) + len(digits.validation.y) + len(digits.test.y), 10))
               for _ in range(2)]  # fmt: skip
    truth = np.concatenate([digits.train.y, digits.validation.y, digits.test.y])
    answers[0][np.arange(len(truth)), truth] = np.nan  # NaN is the largest: all right by argmax
    trained = ex5.Trained([4, 8], [answers], [answers, answers], [])
    assert ex5.evaluate(trained, digits)["chosen"] == 8
