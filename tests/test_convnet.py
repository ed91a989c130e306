"""The network of exercise 7: its hand-written convolution, its training, its checkpoints."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxlab.convnet import augmentation, convolution
from jaxlab.convnet.checkpoints import Checkpoints, saved_notes
from jaxlab.convnet.network import Network, layers, multiplications, normalise
from jaxlab.convnet.presets import PRESETS
from jaxlab.convnet.recipe import Recipe
from jaxlab.convnet.training import STEPS_A_CALL, Trainer
from jaxlab.data.mnist import load_mnist
from jaxlab.errors import OptionError, OutputError
from jaxlab.exercises import command, ex7
from jaxlab.exercises.ex7_training import trained_network
from jaxlab.precision import enable_x64, every_digit

TINY = Recipe(channels=(4, 4, 8), epochs=2.5, batch_size=16)


@pytest.fixture
def float64():
    with enable_x64(True):
        yield np.random.default_rng(0)


@pytest.fixture
def all_digits():
    """Of float32, on a GPU too."""
    with every_digit(x64=False):
        yield


@pytest.fixture(scope="module")
def images():
    """90 images and their digits: 5 batches of 16 and a part of one."""
    sets = load_mnist("small")
    return sets.train.images[:90], sets.train.labels[:90].astype(np.int32)


# --- convolution, pooling: against XLA's own, and worked by hand ---


def xla_convolution(x, g):
    kernel = g.reshape(3, 3, *g.shape[1:])
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("CHWN", "HWOI", "CHWN")
    )


@pytest.mark.parametrize(("height", "width"), [(6, 6), (14, 14), (10, 6)])
def test_convolution_and_its_gradient_are_xlas(float64, height, width):
    x = jnp.asarray(float64.standard_normal((3, height, width, 5)))
    g = jnp.asarray(float64.standard_normal((9, 4, 3)))
    ours, back = jax.vjp(lambda x, g: convolution.untile(convolution.winograd(x, g)), x, g)
    theirs, their_back = jax.vjp(xla_convolution, x, g)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    dy = jnp.asarray(float64.standard_normal(ours.shape))
    for mine, their in zip(back(dy), their_back(dy), strict=True):
        np.testing.assert_allclose(mine, their, rtol=0, atol=1e-11)


def test_convolution_by_hand():
    # One image of ones; a kernel whose taps are 0, 1, …, 8: each output is their sum.
    y = convolution.winograd(jnp.ones((1, 6, 6, 1)), jnp.arange(9.0).reshape(9, 1, 1))
    assert y.shape == (4, 4, 1, 1, 1, 1)
    np.testing.assert_allclose(y, 36, rtol=1e-6)
    # Tap 5 is one to the right of the middle: output (i, j) is pixel (i + 1, j + 2).
    x = jnp.arange(36.0).reshape(1, 6, 6, 1)
    y = convolution.winograd(x, jnp.zeros((9, 1, 1)).at[5].set(1))
    np.testing.assert_allclose(convolution.untile(y)[0, :, :, 0], x[0, 1:5, 2:6, 0], atol=1e-4)


def test_convolution_in_float32_is_as_good_as_training_needs(all_digits):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((64, 14, 14, 8))
    g = rng.standard_normal((9, 32, 64)) / 24
    exact = np.asarray(xla_convolution(*(jnp.asarray(a, jnp.float32) for a in (x, g))))
    ours = convolution.untile(
        convolution.winograd(jnp.asarray(x, jnp.float32), jnp.asarray(g, jnp.float32))
    )
    assert np.abs(ours - exact).max() < 1e-4 * np.abs(exact).max()


def test_images_that_tiles_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="each side must be 4 n"):
        convolution.winograd(jnp.ones((1, 8, 8, 1)), jnp.ones((9, 1, 1)))


def test_max_pool_and_its_gradient(float64):
    y = jnp.asarray(float64.standard_normal((4, 4, 3, 2, 2, 5)))

    def xla_pool(y):
        return jax.lax.reduce_window(
            convolution.untile(y), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )

    ours, back = jax.vjp(convolution.max_pool, y)
    theirs, their_back = jax.vjp(xla_pool, y)
    np.testing.assert_array_equal(ours, theirs)
    d = jnp.asarray(float64.standard_normal(ours.shape))
    np.testing.assert_allclose(back(d)[0], their_back(d)[0])


def test_max_pool_gives_the_gradient_of_equal_pixels_to_one():
    _, back = jax.vjp(convolution.max_pool, jnp.zeros((4, 4, 1, 1, 1, 1)))
    (d,) = back(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(
        convolution.untile(d)[0, :, :, 0], np.tile([[1, 0], [0, 0]], (2, 2))
    )


@pytest.mark.parametrize("pool", [False, True])
def test_the_form_for_a_gpu_gives_the_same(float64, monkeypatch, pool):
    x = jnp.asarray(float64.standard_normal((3, 14, 10, 5)))
    g = jnp.asarray(float64.standard_normal((9, 4, 3)))

    def both(x, g):
        return convolution.convolve(x, g, pool=pool)

    on_cpu, back_on_cpu = jax.vjp(both, x, g)
    monkeypatch.setattr(convolution.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(convolution, "winograd", None)
    on_gpu, back_on_gpu = jax.vjp(both, x, g)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=1e-12)
    dy = jnp.asarray(float64.standard_normal(on_cpu.shape))
    for one, other in zip(back_on_gpu(dy), back_on_cpu(dy), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("taps", "step", "border"), [(5, 2, 2), (3, 1, 0)])
def test_first_convolution_is_xlas(float64, taps, step, border):
    x = jnp.asarray(float64.standard_normal((28, 28, 3)))
    g = jnp.asarray(float64.standard_normal((taps**2, 6)))

    def xla(g):
        return jax.lax.conv_general_dilated(
            x[None],
            g.reshape(taps, taps, 1, 6),
            (step, step),
            [(border, border)] * 2,
            dimension_numbers=("CHWN", "HWIO", "CHWN"),
        )

    ours, back = jax.vjp(lambda g: convolution.convolve_first(x, g), g)
    theirs, their_back = jax.vjp(xla, g)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    dy = jnp.asarray(float64.standard_normal(ours.shape))
    np.testing.assert_allclose(back(dy)[0], their_back(dy)[0], atol=1e-11)


# --- augmentation: against SciPy's interpolation ---


def framed_and_rows(images):
    return jnp.asarray(augmentation.framed(images)), jnp.arange(len(images), dtype=jnp.int32)


def test_no_change_leaves_images_as_they_are(images):
    nothing = jnp.tile(jnp.array([[1.0, 0, 0], [0, 1, 0]])[:, :, None], (1, 1, 90))
    changed = augmentation.change(*framed_and_rows(images[0]), nothing)
    np.testing.assert_allclose(changed, augmentation.unchanged(jnp.asarray(images[0])), atol=1e-5)
    np.testing.assert_allclose(changed[:, :, 7], images[0][7] / 255, atol=1e-5)


def test_changes_are_scipys_affine_maps(images):
    changes = augmentation.random_changes(
        jax.random.key(3), 90, rotation=0.3, scale=0.2, shear=0.2, shift=4.0
    )
    changed = np.asarray(augmentation.change(*framed_and_rows(images[0]), changes))
    for n in range(90):
        (xx, xy, right), (yx, yy, down) = np.asarray(changes[:, :, n], float)
        matrix = np.array([[yy, yx], [xy, xx]])  # SciPy's axes are rows first
        offset = 13.5 + np.array([down, right]) - matrix @ [13.5, 13.5]
        expected = ndimage.affine_transform(
            images[0][n] / 255, matrix, offset, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(changed[:, :, n], expected, atol=2e-4)


@pytest.mark.parametrize("move", [(40, 0), (-40, 0), (0, 31), (0, -31), (1e4, -1e4)])
def test_what_lies_outside_an_image_is_background(images, move):
    changes = np.zeros((2, 3, 90), np.float32)
    changes[0, 0], changes[1, 1], changes[:, 2] = 1, 1, np.array(move)[:, None]
    seen = augmentation.change(*framed_and_rows(np.maximum(images[0], 1)), jnp.asarray(changes))
    assert not np.asarray(seen).any()


def test_changes_stay_within_their_limits():
    key = jax.random.key(0)
    limits = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}
    alone = {name: {**limits, name: 0.1} for name in limits}
    turned = augmentation.random_changes(key, 1000, **alone["rotation"])
    assert 0.09 < np.abs(np.arcsin(turned[1, 0])).max() <= 0.1
    determinant = turned[0, 0] * turned[1, 1] - turned[0, 1] * turned[1, 0]
    np.testing.assert_allclose(determinant, 1, atol=1e-5)
    scaled = augmentation.random_changes(key, 1000, **alone["scale"])
    for axis in (0, 1):
        assert 0.09 < np.abs(np.log(scaled[axis, axis])).max() <= 0.1001
        assert not np.abs(scaled[axis, 1 - axis]).any()
    sheared = augmentation.random_changes(key, 1000, **alone["shear"])
    assert 0.09 < np.abs(sheared[0, 1]).max() <= 0.1
    moved = augmentation.random_changes(key, 1000, **alone["shift"])
    assert 0.09 < np.abs(moved[:, 2]).max() <= 0.1


# --- the network ---


def test_the_network_has_the_parameters_that_its_drawing_says(usual_promotion):
    network = Network((16, 32, 64), seed=0)
    from flax import nnx

    leaves = jax.tree.leaves(nnx.state(network, nnx.Param))
    normalised = 2 * (16 + 32 + 64)
    convolutions = 25 * 16 + 9 * 16 * 32 + 9 * 32 * 64
    assert sum(leaf.size for leaf in leaves) == convolutions + normalised + 1024 * 10 + 10
    assert network(jnp.zeros((28, 28, 3))).shape == (10, 3)
    by_hand = 196 * 25 * 16 + 144 * 9 * 16 * 32 + 16 * 9 * 32 * 64 + 1024 * 10
    assert multiplications((16, 32, 64)) == by_hand


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_that_of_flax(usual_promotion, training):
    from flax import nnx

    rng = np.random.default_rng(0)
    layers = [nnx.BatchNorm(3, axis=0, momentum=0.9, rngs=nnx.Rngs(0)) for _ in range(2)]
    mean, variance, scale, bias = jnp.array(rng.uniform(0.5, 2, (4, 3)), jnp.float32)
    for layer in layers:
        layer.mean[...], layer.var[...] = mean, variance
        layer.scale[...], layer.bias[...] = scale, bias
        layer.use_running_average = not training
    x, dy = jnp.array(rng.standard_normal((2, 3, 4, 5, 6)) + 1, jnp.float32)

    def applied(call, layer):
        def weighted(layer, x):
            y = call(layer, x)
            return (y * dy).sum(), y

        (_, y), grads = nnx.value_and_grad(weighted, argnums=(0, 1), has_aux=True)(layer, x)
        return jax.tree.leaves((y, grads, nnx.state(layer)))

    ours = applied(normalise, layers[0])
    theirs = applied(lambda layer, x: layer(x), layers[1])
    assert len(ours) == 1 + 3 + 4
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(np.asarray(other), rel=1e-4, abs=1e-5)


def test_the_network_at_full_resolution_is_the_one_of_its_drawing(usual_promotion, all_digits):
    """Its answers are those of the same layers by XLA, one after the other."""
    from flax import nnx

    channels = (3, 4, 5, 6, 7, 8)
    network = Network(channels, resolution="full", seed=0)
    network.eval()
    x = jax.random.normal(jax.random.key(0), (28, 28, 2))

    def convolved(a, kernel, padded):
        g = kernel.reshape(3, 3, *kernel.shape[1:])
        return jax.lax.conv_general_dilated(
            a, g, (1, 1), [(int(padded), int(padded))] * 2,
            dimension_numbers=("CHWN", "HWOI", "CHWN"),
        )  # fmt: skip

    a = nnx.relu(
        network.first.normalise(convolved(x[None], network.first.kernel[..., None], False))
    )
    assert a.shape[1] == 26
    sides = []
    for block, (pool, padded) in zip(
        network.blocks, [(1, 0), (0, 1), (1, 1), (0, 0), (0, 1)], strict=True
    ):
        a = convolved(a, block.kernel[...], padded)
        if pool:
            a = jnp.max(jnp.stack([a[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]), axis=0)
        a = nnx.relu(block.normalise(a))
        sides.append(a.shape[1])
    assert sides == [12, 12, 6, 4, 4]
    logits = network.W[...] @ a.reshape(-1, 2) + network.b[...][:, None]
    np.testing.assert_allclose(jax.jit(network)(x), logits, rtol=0, atol=1e-4)
    by_hand = 26**2 * 9 * 3 + 9 * (24**2 * 12 + 12**2 * 20 + 12**2 * 30 + 16 * 42 + 16 * 56)
    assert multiplications(channels, "full") == by_hand + 128 * 10


def test_recipes_that_make_no_sense_are_refused():
    for wrong in (
        {"channels": (16, 32)}, {"channels": (16, 0, 32)}, {"epochs": 0.0},
        {"channels": (9, 9, 9, 9), "resolution": "full"}, {"epochs": float("nan")},
        {"muon_rate": -1.0}, {"adam_rate": float("inf")}, {"batch_size": 0}, {"warm_up": 1.0},
        {"label_smoothing": 1.5}, {"rotation": -0.1}, {"shift": 100.0},
        {"batch_norm_momentum": 1.0},
    ):  # fmt: skip
        with pytest.raises(OptionError, match=next(iter(wrong)).replace("_", "-")):
            Recipe(**wrong)
    for epochs in (1e8, 1e12, 1e305):
        with pytest.raises(OptionError, match="epochs"):
            Recipe(epochs=epochs).steps(60_000)


# --- training ---


def same_bits(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def test_every_image_is_used_once_an_epoch(images, usual_promotion):
    trainer = Trainer(replace(TINY, epochs=3.0), *images, seed=0)
    assert trainer.steps == 17  # 3 × 90 images in batches of 16, the last one filled
    rows = trainer._order(0, trainer.steps).ravel()
    for epoch in range(3):
        assert sorted(rows[90 * epoch : 90 * (epoch + 1)]) == list(range(90))
    assert not np.array_equal(rows[:90], rows[90:180])
    np.testing.assert_array_equal(trainer._order(5, 4).ravel(), rows[80:144])


def test_where_calls_end_does_not_change_a_bit(images, usual_promotion, monkeypatch):
    whole = Trainer(TINY, *images, seed=3).train()
    monkeypatch.setattr("jaxlab.convnet.training.STEPS_A_CALL", 4)
    pieces = Trainer(TINY, *images, seed=3).train()
    assert int(whole.step) == int(pieces.step) == 15 < STEPS_A_CALL
    assert same_bits(whole, pieces)
    other = Trainer(TINY, *images, seed=4).train()
    assert not same_bits(whole.params, other.params)


def test_all_images_are_evaluated_the_last_partial_batch_too(images, usual_promotion):
    trainer = Trainer(TINY, *images, seed=0)
    state = trainer.train()
    one, two = np.concatenate([images[0]] * 6)[:501], np.concatenate([images[0]] * 6)[:500]
    many = trainer.predict(state, one)
    assert many.shape == (501,)
    np.testing.assert_array_equal(many[:500], trainer.predict(state, two))
    assert many[500] == many[500 - 90]


def test_a_short_training_on_real_digits_reaches_97_percent(usual_promotion):
    sets = load_mnist("small")
    recipe = replace(PRESETS["fast"], epochs=3.0)
    trainer = Trainer(recipe, sets.train.images, sets.train.labels, seed=0)
    guess = trainer.predict(trainer.train(), sets.test.images)
    assert (guess == sets.test.labels).mean() >= 0.97


DEVICES = """
import sys, numpy as np, jax
sys.path.insert(0, {tests!r})
from jaxlab.convnet.training import Trainer
from jaxlab.data.mnist import load_mnist
from jaxlab.precision import enable_x64
from test_convnet import TINY
sets = load_mnist("small")
train = sets.train.images[:90], sets.train.labels[:90].astype(np.int32)
ends = []
for count in (1, 2, 4):
    trainer = Trainer(TINY, *train, seed=0, devices=jax.devices()[:count])
    state = trainer.start()
    for _ in range({calls}):
        state, J, accuracy = trainer.advance(state)
    leaves = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)])
    ends.append((J, leaves, trainer.predict(state, train[0])))
for J, leaves, guess in ends[1:]:
    print(abs(J - ends[0][0]), np.abs(leaves - ends[0][1]).max(), (guess != ends[0][2]).sum())
"""


def test_several_devices_give_one_devices_result():
    code = DEVICES.format(tests=str(Path(__file__).parent), calls=1)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
        env={**os.environ, "JAX_PLATFORMS": "cpu",
             "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
             "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [list(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    for cost, params, guesses in rows:
        assert cost < 1e-4
        assert params < 1e-3
        assert guesses == 0


def test_a_batch_that_devices_cannot_share_is_refused(images):
    with pytest.raises(OptionError, match="multiple of the 3 devices"):
        Trainer(TINY, *images, seed=0, devices=jax.devices()[:1] * 3)


# --- checkpoints ---


def test_a_checkpoint_goes_on_to_the_same_bits(images, usual_promotion, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxlab.convnet.training.STEPS_A_CALL", 4)
    trainer = Trainer(TINY, *images, seed=0)
    undisturbed = trainer.train()
    saved = Checkpoints(tmp_path / "here")
    assert saved.latest(trainer.start()) is None
    half, *_ = trainer.advance(trainer.advance(trainer.start())[0])
    saved.save(half, {"config": {"epochs": 2.5}})
    saved.close()

    again = Checkpoints(tmp_path / "here")
    state, notes = again.latest(Trainer(TINY, *images, seed=0).start())
    again.close()
    assert int(state.step) == 8
    assert notes == {"config": {"epochs": 2.5}} == saved_notes(tmp_path / "here")
    assert same_bits(trainer.train(state), undisturbed)


def test_a_fresh_run_replaces_the_old_checkpoints(images, usual_promotion, tmp_path):
    trainer = Trainer(TINY, *images, seed=0)
    for step, fresh in ((9, False), (3, True)):
        saved = Checkpoints(tmp_path, fresh=fresh)
        saved.save(trainer.start()._replace(step=jnp.int32(step)), {"step": step})
        saved.close()
    assert saved_notes(tmp_path) == {"step": 3}


def test_a_damaged_checkpoint_is_refused(images, usual_promotion, tmp_path):
    trainer = Trainer(TINY, *images, seed=0)
    saved = Checkpoints(tmp_path)
    saved.save(trainer.start(), {})
    saved.close()
    for path in (tmp_path / "0" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OutputError, match="cannot read the checkpoint"):
        Checkpoints(tmp_path).latest(trainer.start())
    (tmp_path / "0" / "notes" / "metadata").write_text("{")
    with pytest.raises(OutputError, match="cannot read the checkpoint"):
        saved_notes(tmp_path)


def test_what_another_run_is_saving_is_left_alone(images, usual_promotion, tmp_path):
    trainer = Trainer(TINY, *images, seed=0)
    saved = Checkpoints(tmp_path)
    saved.save(trainer.start(), {})
    saved.close()
    (tmp_path / "5.orbax-checkpoint-tmp-0").mkdir()
    evaluated = Checkpoints(tmp_path)
    assert int(evaluated.latest(trainer.start())[0].step) == 0
    evaluated.close()
    assert (tmp_path / "5.orbax-checkpoint-tmp-0").exists()
    trained = Checkpoints(tmp_path)
    with trained.claimed():
        trained.latest(trainer.start())
        trained.close()
    assert not (tmp_path / "5.orbax-checkpoint-tmp-0").exists()


def test_old_checkpoints_stay_where_there_is_no_room_for_new_ones(
    images, usual_promotion, tmp_path, monkeypatch
):
    trainer = Trainer(TINY, *images, seed=0)
    saved = Checkpoints(tmp_path)
    saved.save(trainer.start(), {"step": 0})
    saved.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    anew = Checkpoints(tmp_path, fresh=True)
    with pytest.raises(OutputError, match="make room"):
        anew.save(trainer.start(), {})
    assert saved_notes(tmp_path) == {"step": 0}


def test_a_checkpoint_that_cannot_be_saved_says_so(images, usual_promotion, tmp_path):
    (tmp_path / "file").write_text("in the way")
    trainer = Trainer(TINY, *images, seed=0)
    with pytest.raises(OutputError, match="cannot save a checkpoint"):
        Checkpoints(tmp_path / "file" / "here").save(trainer.start(), {})


def test_a_checkpoint_that_is_refused_is_closed(images, usual_promotion, tmp_path, monkeypatch):
    trainer = Trainer(TINY, *images, seed=0)
    saved = Checkpoints(tmp_path / "seed-0")
    saved.save(trainer.start(), {"config": {}})
    saved.close()
    closed, close = [], Checkpoints.close
    monkeypatch.setattr(Checkpoints, "close", lambda self: closed.append(close(self)))
    config = ex7.Config(**vars(TINY), resume=True, checkpoints=tmp_path)
    with pytest.raises(OptionError, match="made with other options"):
        trained_network(trainer, config, "a digest", None)
    assert len(closed) == 1


# --- the command line of the exercise ---


@pytest.mark.parametrize("flag", ["--resume", "--evaluate", "--quick"])
@pytest.mark.parametrize("preset", [["--preset", "best"], ["--preset=best"]])
def test_a_preset_that_would_not_count_is_refused(flag, preset):
    with pytest.raises(OptionError, match=f"beside {flag}.*leave out --preset"):
        ex7.defaults([flag, *preset])


@pytest.mark.parametrize("first", [["--preset", "best"], ["--preset=best"]])
@pytest.mark.parametrize("last", [["--preset", "fast"], ["--preset=fast"]])
def test_of_several_presets_the_last_counts(first, last):
    config, _, _ = command.parse("ex7", ex7, [*first, *last])
    assert config.preset == "fast"
    assert all(getattr(config, name) == value for name, value in vars(PRESETS["fast"]).items())


def test_options_may_be_spelled_with_underscores():
    assert ex7.defaults(["--quick", "--mnist_dir", "mine"]).source == "auto"
    assert ex7.defaults(["--quick", "--mnist_dir=mine"]).source == "auto"


def test_a_smoke_run_takes_the_images_that_are_named():
    assert ex7.defaults(["--quick"]).source == "small"
    assert ex7.defaults(["--quick", "--mnist-dir", "mine"]).source == "auto"


def test_the_seeds_of_all_networks_must_be_seeds():
    with pytest.raises(OptionError, match="seed \\+ networks is above"):
        ex7.Config(seed=2**31 - 1, networks=2)
    assert ex7.Config(seed=2**31 - 1).networks == 1


# --- what the exercise says ---


@pytest.mark.parametrize(
    ("resolution", "channels", "outs"),
    [
        ("half", (4, 5, 6, 7), [(4, 14, 14), (5, 6, 6), (6, 4, 4), (7, 4, 4), (10,)]),
        ("full", (2, 3, 4, 5, 6),
         [(2, 26, 26), (3, 12, 12), (4, 12, 12), (5, 6, 6), (6, 4, 4), (10,)]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("usual_promotion")
def test_the_layers_are_told_as_they_are(resolution, channels, outs):
    rows = layers(channels, resolution)
    assert [tuple(row["out"]) for row in rows] == outs
    # A kernel, and a scale and a shift of each channel; weights and biases of the dense layer.
    taps = 25 if resolution == "half" else 9
    counts = [taps * channels[0] + 2 * channels[0]]
    counts += [9 * a * b + 2 * b for a, b in pairwise(channels)]
    assert [row["parameters"] for row in rows] == [*counts, 10 * 16 * channels[-1] + 10]
    for row, before in zip(rows[:-1], [(1, 28, 28), *outs], strict=False):
        side = (before[1] + 2 * row["padding"] - row["kernel"]) // row["stride"] + 1
        assert row["out"][1] == (side // 2 if row["pooled"] else side)


def test_the_discussion_follows_from_the_numbers():
    confusion = np.diag([1000] * 10)
    confusion[4, 9], confusion[4, 4] = 12, 988
    numbers = {
        "test_accuracy": {"mean": 0.9988, "ci95": [0.998, 0.9993], "per_seed": [0.9988]},
        "examples": {"train": 60000, "test": 10000}, "parameters": 33914, "train_seconds": 3.0,
        "confusion": confusion,
    }  # fmt: skip
    curve = {"accuracy": [0.9, 0.95]}
    said = " ".join(ex7.discussion(numbers, Recipe(), curve, full_mnist=True))
    assert "misclassifies 12 of 10,000" in said
    assert "above Keras' mnist_convnet" in said
    assert "takes 4 for 9 (12 of 1,000)" in said
    assert "no sign of overfitting" in said
    assert "Its 99.88 % is above Keras'" in said
    for seen, says in ((0.999, "about as many as of the test images: little"), (1.0, "fitting")):
        said = " ".join(ex7.discussion(numbers, Recipe(), {"accuracy": [0, seen]}, True))
        assert says in said
    numbers["test_accuracy"] = {"mean": 0.9, "ci95": [0.89, 0.91], "per_seed": [0.9, 0.9]}
    assert "below Keras'" in " ".join(ex7.discussion(numbers, Recipe(), curve, full_mnist=True))
    assert "Keras" not in " ".join(ex7.discussion(numbers, Recipe(), curve, full_mnist=False))


@pytest.mark.parametrize(
    ("served_by", "source", "name"),
    [
        ("folder", "MNIST, from NOT MNIST/files; sha256 verified", "full MNIST"),
        ("folder", "MNIST, from /data/jsmall; sha256 verified", "full MNIST"),
        ("folder", "the data set in MNIST, NOT MNIST (its sha256 is 0…)", "another data set"),
        ("small", "small MNIST: 10,000 images", "SMALL MNIST"),
    ],
)
def test_images_are_called_what_they_are_whatever_their_folder_is_called(served_by, source, name):
    sets = replace(load_mnist("small"), served_by=served_by, source=source)
    assert ex7._data_set(sets).startswith(name)
