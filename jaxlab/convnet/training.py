"""Training the network of exercise 7, on one device or many, and evaluating it.

    trainer = Trainer(recipe, images, labels, seed=0)
    state = trainer.train()
    digits = trainer.predict(state, test_images)

All images lie on each device as bytes. A call of `advance` runs up to `STEPS_A_CALL` steps in one
compiled loop, whose number of steps is no part of the program: nothing is compiled twice. What
a step does depends on the state, the recipe and the seed alone, so a run that was stopped and goes
on from a saved state ends in the same bits.

Each batch is divided evenly among the devices of a mesh; of a CPU these are its cores, where
`cores.one_device_each` has been called before all else. Means over the batch (the cost, its
gradient, the statistics of batch normalisation) are means over all devices, and every image is
changed at random in the same way wherever it lies: the results are one device's, up to rounding.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, UInt8

from jaxlab.convnet.augmentation import change, framed, random_changes, unchanged
from jaxlab.convnet.network import CLASSES, SIDE, Network
from jaxlab.convnet.recipe import Recipe, optimizer
from jaxlab.errors import OptionError

STEPS_A_CALL = 50
IMAGES_A_CALL = 100
AXIS = "batch"
EVERYWHERE = PartitionSpec()  # the same on each device
DIVIDED = PartitionSpec(None, AXIS)  # the second axis divided among the devices


class State(NamedTuple):
    """All that a step changes, and so all that a checkpoint has to hold.

    step: how many have been done. params, statistics: of the network, as plain dicts.
    optimizer: optax's state.
    """

    step: Int[Array, ""]
    params: dict[str, Any]
    statistics: dict[str, Any]
    optimizer: Any


class Trainer:
    """The compiled programs of one training run, and the images that they work on.

    images: (m, 28, 28) uint8. labels: (m,) in 0..9. devices: what to divide each batch among; where
    none are given, those of `usual_devices`.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: UInt8[np.ndarray, "m 28 28"],
        labels: Int[np.ndarray, " m"] | UInt8[np.ndarray, " m"],
        *,
        seed: int,
        devices: Sequence[jax.Device] | None = None,
    ):
        devices = usual_devices(recipe.batch_size) if devices is None else devices
        if recipe.batch_size % len(devices):
            raise OptionError(
                f"batch-size is {recipe.batch_size}: it must be a multiple of the "
                f"{len(devices)} devices"
            )
        self.recipe, self.seed = recipe, seed
        recipe = Recipe(**{field.name: getattr(recipe, field.name) for field in fields(Recipe)})
        self.mesh = Mesh(np.array(devices), (AXIS,))
        self.examples = len(images)
        self.steps = recipe.steps(self.examples)
        moments = _mean_and_deviation(images)
        pixels = framed(images) if recipe.augments else images
        self._data = self._put((pixels, labels.astype(np.int32), moments, np.int32(seed)))
        self._variables = nnx.split(_network(recipe, seed), nnx.Param, ...)[1:]
        self._optimizer_start, self._advance, self._predict = _programs(
            recipe, self.mesh, self.steps
        )

    def compile(self) -> float:
        """Compiles what `advance` and `predict` run, if they have not yet; returns the seconds.

        One step and one prediction are done as well and thrown away: a GPU loads a program when
        it first runs.
        """
        start = time.perf_counter()
        rows = np.zeros((STEPS_A_CALL, self.recipe.batch_size), np.int32)
        state, _ = self._advance(
            self.start(), self._data, self._put(rows, DIVIDED), self._put(np.int32(1))
        )
        self.predict(state, np.zeros((1, SIDE, SIDE), np.uint8))
        return time.perf_counter() - start

    def start(self) -> State:
        """The state before the first step: random weights from the seed."""
        params, statistics = map(nnx.to_pure_dict, self._variables)
        state = State(jnp.int32(0), params, statistics, self._optimizer_start(params))
        # Copies with a dtype of their own: the steps write over them.
        return self._put(jax.tree.map(lambda leaf: np.array(leaf, leaf.dtype), state))

    def train(
        self,
        state: State | None = None,
        on_progress: Callable[[State, float, float], None] = lambda state, J, accuracy: None,
    ) -> State:
        """The state after the last step, from a given state on, or from the start.

        on_progress: called after each call of `advance`, with what that returned.
        """
        state = self.start() if state is None else state
        while int(state.step) < self.steps:
            state, J, accuracy = self.advance(state)
            on_progress(state, J, accuracy)
        return state

    def advance(self, state: State) -> tuple[State, float, float]:
        """Up to `STEPS_A_CALL` steps, which write over `state`.

        Returns the new state, and the mean cost and accuracy over the images of these steps, as
        the network saw them.
        """
        first = int(state.step)
        count = min(STEPS_A_CALL, self.steps - first)
        order = np.zeros((STEPS_A_CALL, self.recipe.batch_size), np.int32)
        order[:count] = self._order(first, count)
        state, (cost, right) = self._advance(
            state, self._data, self._put(order, DIVIDED), self._put(np.int32(count))
        )
        return state, float(cost) / count, float(right) / count

    def predict(self, state: State, images: UInt8[np.ndarray, "m 28 28"]) -> Int[np.ndarray, " m"]:
        """The digit that each image is taken for; all of them, the last partial batch too."""
        size = IMAGES_A_CALL * len(self.mesh.devices)
        digits = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            filled = np.concatenate([batch, np.zeros((size - len(batch), SIDE, SIDE), np.uint8)])
            found = self._predict(
                state.params, state.statistics, self._data[2],
                self._put(filled, PartitionSpec(AXIS)),
            )  # fmt: skip
            digits.append(np.asarray(found)[: len(batch)])
        return np.concatenate(digits)

    def _order(self, first: int, count: int) -> Int[np.ndarray, "steps batch"]:
        """Row numbers of the examples of some steps: epoch after epoch, each in an order of its
        own, cut into batches without regard to where an epoch ends."""
        batch = self.recipe.batch_size
        start, stop = first * batch, (first + count) * batch
        epochs = range(start // self.examples, (stop - 1) // self.examples + 1)
        orders = [
            np.random.default_rng((self.seed, epoch)).permutation(self.examples) for epoch in epochs
        ]
        skipped = start - epochs[0] * self.examples
        rows = np.concatenate(orders)[skipped : skipped + stop - start]
        return rows.reshape(count, batch).astype(np.int32)

    def _put(self, tree, where: PartitionSpec = EVERYWHERE):
        return jax.device_put(tree, NamedSharding(self.mesh, where))


def usual_devices(batch_size: int) -> list[jax.Device]:
    """Of a CPU as many as divide a batch evenly, else the first: GPUs are for the user to give."""
    there = jax.devices()
    most = len(there) if there[0].platform == "cpu" else 1
    return there[: max(n for n in range(1, most + 1) if batch_size % n == 0)]


def _network(recipe: Recipe, seed: int) -> Network:
    return Network(
        recipe.channels, resolution=recipe.resolution, seed=seed,
        momentum=recipe.batch_norm_momentum, axis_name=AXIS,
    )  # fmt: skip


class Timed(NamedTuple):
    """One training run: seconds of compiling and of training, and the accuracy afterwards."""

    compiling: float
    training: float
    accuracy: float


def train_timed(
    recipe: Recipe,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    seed: int,
    on_progress: Callable[[State, float, float], None] = lambda state, J, accuracy: None,
) -> Timed:
    """Trains one network on images and labels, and evaluates it on others; for comparisons."""
    trainer = Trainer(recipe, *train, seed=seed)
    compiling = trainer.compile()
    start = time.perf_counter()
    state = trainer.train(on_progress=on_progress)
    seconds = time.perf_counter() - start
    images, labels = test
    return Timed(compiling, seconds, float((trainer.predict(state, images) == labels).mean()))


@lru_cache(maxsize=4)
def _programs(recipe: Recipe, mesh: Mesh, steps: int):
    """The functions behind `start`, `advance` and `predict`, compiled when first called.

    They are the same for every seed, so that many networks compile them once.
    """
    m = recipe.batch_size // len(mesh.devices)
    optimizer_start, optimizer_update = optimizer(recipe, steps)
    shapes = nnx.eval_shape(lambda: _network(recipe, seed=0))
    graph, *template = nnx.split(shapes, nnx.Param, ...)

    def network(params, statistics) -> Network:
        variables = jax.tree.map(lambda leaf: leaf, template)  # a copy to write over
        for state, values in zip(variables, (params, statistics), strict=True):
            nnx.replace_by_pure_dict(state, values)
        return nnx.merge(graph, *variables)

    def cost(params, statistics, x, y):
        model = network(params, statistics)
        logits = model(x)
        targets = optax.smooth_labels(jax.nn.one_hot(y, CLASSES), recipe.label_smoothing)
        J = optax.softmax_cross_entropy(logits.T, targets).mean()
        right = (logits.argmax(axis=0) == y).astype(jnp.float32).mean()
        _, _, statistics = nnx.split(model, nnx.Param, ...)
        return J, (right, nnx.to_pure_dict(statistics))

    def step(i, carry):
        state, (images, labels, moments, seed), order, (costs, rights) = carry
        rows = order[i]
        if recipe.augments:
            changes = random_changes(
                jax.random.fold_in(jax.random.key(seed), state.step), recipe.batch_size,
                rotation=recipe.rotation, scale=recipe.scale,
                shear=recipe.shear, shift=recipe.shift,
            )  # fmt: skip
            mine = jax.lax.axis_index(AXIS) * m
            x = change(images, rows, jax.lax.dynamic_slice_in_dim(changes, mine, m, axis=2))
        else:
            x = unchanged(images[rows])
        x = (x - moments[0]) / moments[1]
        (J, (right, statistics)), grads = jax.value_and_grad(cost, has_aux=True)(
            state.params, state.statistics, x, labels[rows]
        )
        J, right, grads = mean_of_devices((J, right, grads))
        updates, moved = optimizer_update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        state = State(state.step + 1, params, statistics, moved)
        return state, carry[1], order, (costs + J, rights + right)

    def advance(state, data, order, count):
        totals = (jnp.float32(0), jnp.float32(0))
        state, _, _, totals = jax.lax.fori_loop(0, count, step, (state, data, order, totals))
        return state, totals

    def predict(params, statistics, moments, images):
        model = network(params, statistics)
        model.eval()
        x = (unchanged(images) - moments[0]) / moments[1]
        return jax.lax.all_gather(model(x).argmax(axis=0), AXIS, tiled=True)

    def on_mesh(function, divided, **options):
        whole = jax.shard_map(
            function, mesh=mesh, in_specs=divided, out_specs=EVERYWHERE, check_vma=False
        )
        return jax.jit(whole, **options)

    return (
        jax.jit(optimizer_start),
        on_mesh(advance, (EVERYWHERE, EVERYWHERE, DIVIDED, EVERYWHERE), donate_argnums=0),
        on_mesh(predict, (EVERYWHERE, EVERYWHERE, EVERYWHERE, PartitionSpec(AXIS))),
    )


def mean_of_devices(tree):
    """Each leaf's mean over the devices, inside a program that is divided among them.

    As one vector: of many arrays a CPU's devices would wait for one another at each.
    """
    flat, in_form = ravel_pytree(tree)
    return in_form(jax.lax.pmean(flat, AXIS))


def _mean_and_deviation(images: UInt8[np.ndarray, "m 28 28"]) -> Float[np.ndarray, "2"]:
    """Of all pixels, in [0, 1]: what the network's inputs are normalised by."""
    total = squares = 0
    # All at once would take four bytes a pixel.
    for some in np.array_split(images, -(-len(images) // IMAGES_A_CALL)):
        values = some.astype(np.int32)
        total += int(values.sum())
        squares += int(np.square(values).sum())
    mean = total / (255 * images.size)
    variance = squares / (255**2 * images.size) - mean**2
    return np.array([mean, max(variance, 1e-12) ** 0.5], np.float32)
