"""What the presets of exercise 7 reach on the test images, and how long they take.

    python scripts/convnet_times.py                          every preset of a CPU, 3 networks each
    python scripts/convnet_times.py fast --networks 5        one of them
    python scripts/convnet_times.py gpu --networks 10        on a GPU

Each network is trained on all training images from a seed of its own and evaluated once, on
every test image as it is. The time is that of training; compilation is told beside it, and
loading the data is left out. Runs on every core, or on JAX's first GPU; a table comes out, and
--json FILE keeps all numbers.
"""

import argparse
import json
from pathlib import Path

from jaxlab import terminal
from jaxlab.compilation import use_compilation_cache
from jaxlab.convnet.presets import PRESETS
from jaxlab.convnet.training import train_timed
from jaxlab.cores import one_device_each
from jaxlab.data.mnist import load_full_mnist
from jaxlab.errors import JaxlabError
from jaxlab.results import check_writable, environment
from jaxlab.statistics import over_seeds
from jaxlab.writing import write_whole

HEAD = (
    "| preset | test accuracy, % (95 % interval) | each network, % | training, s | compiling, s |"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("presets", nargs="*", help="fast, short, minute, cpu, best, gpu")
    parser.add_argument("--networks", type=int, default=3, help="how many of each (default: 3)")
    parser.add_argument("--mnist-dir", type=Path, help="a folder with MNIST's four files")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    presets = options.presets or ["fast", "short", "minute", "cpu", "best"]
    if unknown := set(presets) - PRESETS.keys():
        parser.error(f"no such preset: {', '.join(sorted(unknown))}")

    if options.networks < 1:
        parser.error("--networks must be at least 1")
    use_compilation_cache()
    one_device_each()
    try:
        if options.json:
            check_writable(options.json.parent)
        sets = load_full_mnist(options.mnist_dir)
    except JaxlabError as error:
        parser.error(str(error))
    where = environment()
    versions = ", ".join(f"{name} {where['packages'][name]}" for name in ("jax", "flax", "optax"))
    print(f"{sets.source}; {where['device']}, {where['cores']} cores; {versions}\n")
    print(f"{HEAD}\n|---|---|---|---|---|")
    record = {"environment": where, "source": sets.source, "presets": {}}
    for name in presets:
        recipe, runs = PRESETS[name], []
        steps = recipe.steps(len(sets.train.labels))
        with terminal.progress(name, options.networks * steps) as bar:
            for seed in range(options.networks):
                with terminal.stage(bar, steps) as reached:
                    runs.append(train_timed(
                        recipe, sets.train, sets.test, seed,
                        lambda s, J, _: reached(int(s.step), f"J {J:.4f}"),
                    ))  # fmt: skip
        compiling = max(run.compiling for run in runs)
        seconds = [run.training for run in runs]
        accuracies = [run.accuracy for run in runs]
        accuracy = over_seeds(accuracies, len(sets.test.labels))
        low, high = accuracy["ci95"]
        each = ", ".join(f"{100 * a:.2f}" for a in accuracies)
        print(
            f"| {name} | {100 * accuracy['mean']:.3f} ({100 * low:.2f} to {100 * high:.2f}) "
            f"| {each} | {sum(seconds) / len(seconds):.1f} | {compiling:.1f} |",
            flush=True,
        )
        record["presets"][name] = {
            "test_accuracy": accuracy, "train_seconds": seconds, "compile_seconds": compiling
        }  # fmt: skip
        if options.json:  # now: what is stopped after hours keeps what it has
            write_whole(
                options.json,
                (json.dumps(record, indent=2) + "\n").encode(),
                otherwise="name another file",
            )


if __name__ == "__main__":
    main()
