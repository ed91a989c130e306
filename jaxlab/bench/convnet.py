"""Exercise 7: one training step of the same network, and a whole training to 99 %.

Steps: the network of each preset, batch 128, plain SGD, float32, data in memory; in PyTorch in both
memory formats, a row each. Operations count multiplications the ordinary way,
three quarters of which Winograd's algorithm saves.

Training, on images in memory: the preset "fast", cut to the epochs that reach 99.0 % in the mean;
the same network with the recipe that is fastest in PyTorch, as long; and the network, optimiser
and schedule of pytorch/examples/mnist (Adadelta, step 1.0, times 0.7 an epoch, batch 64, dropout)
until the test accuracy after an epoch is 99.0 % or more.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab import terminal
from jaxlab.bench import pytorch
from jaxlab.bench.timing import OURS, Row, Timing, take_turns
from jaxlab.convnet.network import Network, blocks, multiplications
from jaxlab.convnet.presets import PRESETS
from jaxlab.convnet.training import (
    AXIS,
    Timed,
    mean_of_devices,
    train_timed,
    usual_devices,
)
from jaxlab.data.mnist import load_full_mnist
from jaxlab.errors import DataError

BATCH, BLOCK = 128, 10
EPOCHS, NETWORKS = 0.5, 5  # of the training to 99 %
WIDE = ((32, 64, 128, 128), "half")  # measured as well, though no preset has it


def rows() -> Iterator[Row]:
    """The steps of each network, from small to large; then the training."""
    try:
        import torch
    except ImportError:
        terminal.warn("exercise 7 is measured beside PyTorch alone: pip install 'jaxlab[bench]'")
        return
    torch.manual_seed(0)
    networks = {(recipe.channels, recipe.resolution) for recipe in PRESETS.values()} | {WIDE}
    for i, network in enumerate(sorted(networks, key=lambda network: multiplications(*network))):
        contenders = {
            OURS: _steps(*network),
            "PyTorch": _torch_steps(*network, channels_last=False),
            "PyTorch, channels last": _torch_steps(*network, channels_last=True),
        }
        if pytorch.on_gpu():
            contenders |= {
                "PyTorch, CUDA graph": _torch_steps(*network, channels_last=False, graph=True),
                "PyTorch, channels last, CUDA graph": _torch_steps(
                    *network, channels_last=True, graph=True
                ),
            }
        goal = 1.25 if i == 0 else 1.0
        yield Row(
            f"{BLOCK} steps of {'-'.join(map(str, network[0]))}, {network[1]} resolution, "
            f"batch {BATCH}",
            take_turns(contenders),
            {who: goal for who in contenders if who != OURS},
            operations=6 * multiplications(*network) * BATCH * BLOCK,
        )
    try:
        sets = load_full_mnist()
    except DataError as error:
        terminal.warn(f"no training to 99 %: {error}")
        return
    yield _training(sets)


def _random_batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((28, 28, BATCH), np.float32), rng.integers(0, 10, BATCH)


def _steps(channels: tuple[int, ...], resolution: str):
    """A function that runs a block of steps, divided among devices as `Trainer` does it."""
    network = Network(channels, resolution=resolution, seed=0, axis_name=AXIS)
    graph, *states = nnx.split(network, nnx.Param, ...)
    mesh = Mesh(np.array(usual_devices(BATCH)), (AXIS,))

    def step(carry, x, y):
        def cost(params):
            # A copy: the network writes its new statistics over the old.
            network = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, carry[1]))
            J = optax.softmax_cross_entropy_with_integer_labels(network(x).T, y).mean()
            return J, nnx.state(network, nnx.BatchStat)

        grads, rest = jax.grad(cost, has_aux=True)(carry[0])
        moved = jax.tree.map(lambda p, g: p - 1e-3 * g, carry[0], mean_of_devices(grads))
        return moved, rest

    @jax.jit
    @partial(
        jax.shard_map, mesh=mesh, out_specs=P(), check_vma=False,
        in_specs=(P(), P(None, None, AXIS), P(AXIS)),
    )  # fmt: skip
    def block(carry, x, y):
        return jax.lax.fori_loop(0, BLOCK, lambda _, carry: step(carry, x, y), carry)

    images, labels = _random_batch()
    x = jax.device_put(images, NamedSharding(mesh, P(None, None, AXIS)))
    y = jax.device_put(labels, NamedSharding(mesh, P(AXIS)))
    carry = jax.device_put(tuple(states), NamedSharding(mesh, P()))

    def run() -> None:
        nonlocal carry
        carry = jax.block_until_ready(block(carry, x, y))

    run()
    return run


def _torch_steps(
    channels: tuple[int, ...], resolution: str, *, channels_last: bool, graph: bool = False
):
    """The same in PyTorch. graph: as one CUDA graph."""
    import torch
    from torch import nn

    network = _torch_network(channels, resolution)
    images, labels = _random_batch()
    x, y = pytorch.tensor(images.transpose(2, 0, 1)[:, None]), pytorch.tensor(labels)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)

    def block() -> None:
        for _ in range(BLOCK):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

    start = pytorch.as_graph(block) if graph else block

    def run() -> None:
        start()
        pytorch.done()

    run()
    return run


def _torch_network(channels: tuple[int, ...], resolution: str) -> Any:
    """The network of exercise 7 in PyTorch."""
    from torch import nn

    first = nn.Conv2d(1, channels[0], 5, 2, 2, bias=False)
    if resolution == "full":
        first = nn.Conv2d(1, channels[0], 3, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True)]
    for n_in, n_out, pool, padded in blocks(channels, resolution):
        layers.append(nn.Conv2d(n_in, n_out, 3, padding=int(padded), bias=False))
        layers += [nn.MaxPool2d(2)] if pool else []
        layers += [nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels[-1], 10))
    return network.to(pytorch.device())


def _training(sets) -> Row:
    """`NETWORKS` trainings each, in turn; of pytorch/examples one, which takes minutes."""
    trainings = {OURS: _our_training, "PyTorch, same network": _torch_training}
    seconds: dict[str, list[float]] = {who: [] for who in trainings}
    accuracies: dict[str, list[float]] = {who: [] for who in trainings}
    first: dict[str, float] = {}
    for seed in range(NETWORKS):
        for who, train in trainings.items():
            compiled, took, accuracy = train(sets, seed)
            first.setdefault(who, compiled + took)
            seconds[who].append(took)
            accuracies[who].append(accuracy)
    theirs, reached, epochs = _examples_training(sets)
    times = {
        who: Timing(statistics.median(own), min(own), first[who], NETWORKS)
        for who, own in seconds.items()
    }
    each = [f"{who}: {100 * statistics.mean(own):.2f} %" for who, own in accuracies.items()]
    return Row(
        "training on full MNIST to 99 %",
        times | {"pytorch/examples": Timing(theirs, theirs, theirs, 1)},
        {"PyTorch, same network": 1.1, "pytorch/examples": 25.0},
        notes=(
            f"test accuracy of {NETWORKS} networks: {', '.join(each)}; "
            f"pytorch/examples: {100 * reached:.2f} % after epoch {epochs}, one run",
        ),
    )


def _our_training(sets, seed: int) -> Timed:
    return train_timed(replace(PRESETS["fast"], epochs=EPOCHS), sets.train, sets.test, seed)


def _torch_training(sets, seed: int) -> Timed:
    """The network, batches and rates of "fast" in PyTorch, in the form that is fastest there.

    Adam for all weights: `torch.optim.Muon` for the kernels takes a sixth longer and reaches no
    more in as many epochs; `torch.compile` and SGD are slower to 99 %, too. On a GPU each step is
    a CUDA graph.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    on_gpu = pytorch.on_gpu()
    recipe = PRESETS["fast"]
    network = _torch_network(recipe.channels, recipe.resolution)
    network, rate = network.to(memory_format=torch.channels_last), recipe.adam_rate
    optimizer = torch.optim.AdamW(
        network.parameters(), pytorch.tensor(np.float32(rate)) if on_gpu else rate,
        betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True, capturable=on_gpu,
    )  # fmt: skip
    steps = round(EPOCHS * len(sets.train.labels) / BATCH)
    rise = round(recipe.warm_up * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / rise, (steps - i) / (steps - rise))
    )
    x, y = _torch_images(sets.train.images), pytorch.tensor(sets.train.labels).long()
    batch, wanted = x[:BATCH].clone(), y[:BATCH].clone()

    def step() -> None:
        optimizer.zero_grad()
        logits = network(batch.to(memory_format=torch.channels_last))
        cost = nn.functional.cross_entropy(logits, wanted, label_smoothing=recipe.label_smoothing)
        cost.backward()
        optimizer.step()

    if on_gpu:
        fresh = {name: value.clone() for name, value in network.state_dict().items()}
        step = pytorch.as_graph(step)
        network.load_state_dict(fresh)
        for moments in optimizer.state.values():
            for moment in moments.values():
                moment.zero_()
    pytorch.done()
    start = time.perf_counter()
    for rows in torch.randperm(len(x), device=x.device).split(BATCH)[:steps]:
        torch.index_select(x, 0, rows, out=batch)
        torch.index_select(y, 0, rows, out=wanted)
        step()
        schedule.step()
    pytorch.done()
    return Timed(0.0, time.perf_counter() - start, _torch_accuracy(network, sets))


def _torch_images(images: np.ndarray) -> Any:
    """Images in memory, of mean 0 and standard deviation 1, as pytorch/examples has them."""
    return ((pytorch.tensor(images).float() / 255 - 0.1307) / 0.3081)[:, None]


def _torch_accuracy(network: Any, sets) -> float:
    import torch

    network.eval()
    with torch.no_grad():
        parts = _torch_images(sets.test.images).split(1000)
        guess = torch.cat([network(part).argmax(1) for part in parts]).cpu().numpy()
    return float((guess == sets.test.labels).mean())


def _examples_training(sets) -> tuple[float, float, int]:
    """Seconds, accuracy and epochs of pytorch/examples, until 99 % or its 14 epochs are over."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10),
    ).to(pytorch.device())  # fmt: skip
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    x, y = _torch_images(sets.train.images), pytorch.tensor(sets.train.labels).long()
    seconds, accuracy, epoch = 0.0, 0.0, 0
    while accuracy < 0.99 and epoch < 14:
        epoch += 1
        network.train()
        start = time.perf_counter()
        for rows in torch.randperm(len(x), device=x.device).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
        pytorch.done()
        seconds += time.perf_counter() - start
        accuracy = _torch_accuracy(network, sets)
    return seconds, accuracy, epoch
