"""Exercise 7 beside PyTorch, on the same machine in the same run.

    python scripts/convnet_peers.py steps      one training step of the same network
    python scripts/convnet_peers.py train      pytorch/examples' network and recipe, to 99.0 %
    python scripts/convnet_peers.py            both

Needs the extra "bench" (PyTorch). Steps: the network of a preset, batch 128, plain SGD, float32,
data in memory; in PyTorch in both memory formats, the faster of which counts. The two take turns
in blocks of ten steps, so that a change in the machine's speed meets both; medians over blocks.
Fractions are of the best large float32 matrix product of the same run, in JAX or PyTorch, and count
multiplications the ordinary way, which Winograd's algorithm saves three quarters of.

Training: the network, optimiser and schedule of pytorch/examples/mnist (Adadelta, step 1.0,
times 0.7 an epoch, batch 64, dropout) on images in memory, until the test accuracy after an epoch
is 99.0 % or more, against the preset "fast" to its end.
"""

import argparse
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxlab.compilation import use_compilation_cache
from jaxlab.convnet.network import Network, blocks, multiplications
from jaxlab.convnet.training import Trainer
from jaxlab.data.mnist import load_mnist
from jaxlab.exercises.ex7 import PRESETS

try:
    import torch
    from torch import nn
except ImportError:
    raise SystemExit("this script needs PyTorch: pip install 'jaxlab[bench]'") from None

BATCH, BLOCK, BLOCKS = 128, 10, 30
WIDE = ((32, 64, 128, 128), "half")  # measured as well, though no preset has it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("steps", "train"))
    parser.add_argument("--mnist-dir", type=Path, help="a folder with MNIST's four files")
    options = parser.parse_args()
    use_compilation_cache()
    torch.manual_seed(0)
    print(f"jax {jax.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    if options.what != "train":
        compare_steps()
    if options.what != "steps":
        compare_training(load_mnist(mnist_dir=options.mnist_dir))


def compare_steps() -> None:
    peak = best_product()
    print(f"best matrix product: {peak / 1e9:.0f} GFLOP/s\n")
    print("| network | jaxlab, ms | PyTorch, ms | channels last, ms | ratio | of the product |")
    print("|---|---|---|---|---|---|")
    networks = {(recipe.channels, recipe.resolution) for recipe in PRESETS.values()} | {WIDE}
    for channels, resolution in sorted(networks, key=lambda network: multiplications(*network)):
        runners = [
            jaxlab_steps(channels, resolution),
            torch_steps(channels, resolution, False),
            torch_steps(channels, resolution, True),
        ]
        times: list[list[float]] = [[], [], []]
        for _ in range(BLOCKS):
            for run, own in zip(runners, times, strict=True):
                start = time.perf_counter()
                run()
                own.append((time.perf_counter() - start) / BLOCK)
        medians = [statistics.median(own) for own in times]
        spread = [f"{1e3 * median:.2f} (best {1e3 * min(own):.2f})"
                  for own, median in zip(times, medians, strict=True)]  # fmt: skip
        fraction = 6 * multiplications(channels, resolution) * BATCH / medians[0] / peak
        print(
            f"| {'-'.join(map(str, channels))}, {resolution} | {' | '.join(spread)} "
            f"| {medians[0] / min(medians[1:]):.2f} | {100 * fraction:.0f} % |",
            flush=True,
        )


def best_product(size: int = 2048, tries: int = 12) -> float:
    """The fastest float32 product of two large matrices, in operations a second."""
    one = np.random.default_rng(0).standard_normal((size, size), np.float32)
    product, ours, theirs = jax.jit(jnp.matmul), jnp.asarray(one), torch.tensor(one)
    fastest = float("inf")
    for _ in range(tries):
        for run in (lambda: product(ours, ours).block_until_ready(), lambda: theirs @ theirs):
            start = time.perf_counter()
            run()
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * size**3 / fastest


def random_batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((28, 28, BATCH), np.float32), rng.integers(0, 10, BATCH)


def jaxlab_steps(channels: tuple[int, ...], resolution: str):
    """A function that runs a block of steps."""
    x, y = map(jnp.asarray, random_batch())
    graph, params, rest = nnx.split(
        Network(channels, resolution=resolution, seed=0), nnx.Param, ...
    )

    def step(_, carry):
        def cost(params):
            # A copy: the network writes its new statistics over the old.
            network = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, carry[1]))
            J = optax.softmax_cross_entropy_with_integer_labels(network(x).T, y).mean()
            return J, nnx.state(network, nnx.BatchStat)

        grads, rest = jax.grad(cost, has_aux=True)(carry[0])
        return jax.tree.map(lambda p, g: p - 1e-3 * g, carry[0], grads), rest

    block = jax.jit(lambda carry: jax.lax.fori_loop(0, BLOCK, step, carry))
    carry = (params, rest)

    def run() -> None:
        nonlocal carry
        carry = jax.block_until_ready(block(carry))

    run()
    return run


def torch_steps(channels: tuple[int, ...], resolution: str, channels_last: bool):
    """The same in PyTorch."""
    first = nn.Conv2d(1, channels[0], 5, 2, 2, bias=False)
    if resolution == "full":
        first = nn.Conv2d(1, channels[0], 3, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True)]
    for n_in, n_out, pool, padded in blocks(channels, resolution):
        layers.append(nn.Conv2d(n_in, n_out, 3, padding=int(padded), bias=False))
        layers += [nn.MaxPool2d(2)] if pool else []
        layers += [nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels[-1], 10))
    images, labels = random_batch()
    x, y = torch.tensor(images).permute(2, 0, 1)[:, None].contiguous(), torch.tensor(labels)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)

    def run() -> None:
        for _ in range(BLOCK):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

    run()
    return run


def compare_training(sets) -> None:
    trainer = Trainer(PRESETS["fast"], sets.train.images, sets.train.labels, seed=0)
    compiled = trainer.compile()
    start = time.perf_counter()
    state = trainer.train()
    ours = time.perf_counter() - start
    accuracy = (trainer.predict(state, sets.test.images) == sets.test.labels).mean()
    print(f"\njaxlab, preset fast: {100 * accuracy:.2f} % after {ours:.1f} s "
          f"(and {compiled:.1f} s of compilation)")  # fmt: skip

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

    def prepared(images: np.ndarray) -> torch.Tensor:
        return ((torch.tensor(images).float() / 255 - 0.1307) / 0.3081)[:, None]

    x, y = prepared(sets.train.images), torch.tensor(sets.train.labels).long()
    test, truth, theirs = prepared(sets.test.images), sets.test.labels, 0.0
    for epoch in range(1, 15):
        network.train()
        start = time.perf_counter()
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
        theirs += time.perf_counter() - start
        network.eval()
        with torch.no_grad():
            guess = torch.cat([network(part).argmax(1) for part in test.split(1000)]).numpy()
        accuracy = (guess == truth).mean()
        print(f"pytorch/examples, epoch {epoch}: {100 * accuracy:.2f} % after {theirs:.0f} s")
        if accuracy >= 0.99:
            break
    print(f"ratio: {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
