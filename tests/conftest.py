"""Strict settings for all tests, and the installed command.

Nothing is promoted or broadcast silently.
"""

import os
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def float64():
    """Numbers of 16 digits for one test."""
    from jaxlab.precision import enable_x64  # only now: the types of what is imported are checked

    with enable_x64(True):
        yield


@pytest.fixture
def standard_promotion():
    """optax's Adam raises a float to an integer power, which strict promotion refuses."""
    yield from _in_every_thread(jax_numpy_dtype_promotion="standard")


@pytest.fixture
def usual_promotion(standard_promotion):
    """optax's schedules and Flax's normalisation also broadcast ranks silently."""
    yield from _in_every_thread(jax_numpy_rank_promotion="allow")


def _in_every_thread(**settings):
    """`with jax.numpy_dtype_promotion(…)` is for one alone, and exercises train in several."""
    strict = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in strict.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The package as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", folder, ROOT], check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("jaxlab-*.whl")
    return wheel


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """A Python that sees all packages of these tests, but no jaxlab."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    # Links, because a path to the tests' own packages would show pip that jaxlab is among them.
    others = folder / "others"
    others.mkdir()
    for place in {Path(p).resolve() for p in sys.path if p.endswith("site-packages")}:
        for package in place.iterdir():
            if package.suffix != ".pth" and not package.name.startswith("jaxlab"):
                (others / package.name).symlink_to(package)
    (_site(folder) / "others.pth").write_text(str(others))
    return folder / "venv" / "bin" / "python"


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """A Python that sees jaxlab only as an installed wheel, and all else as these tests do."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    site = _site(folder)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True, text=True)
    # Everything else comes from the environment of the tests, behind the wheel, without the
    # editable jaxlab that may be there (its .pth file is not read from a plain path entry).
    here = {Path(p).resolve() for p in sys.path if p.endswith("site-packages")}
    (site / "others.pth").write_text("\n".join(map(str, here)))
    return folder / "venv" / "bin" / "python"


def _site(folder: Path) -> Path:
    return next((folder / "venv" / "lib").glob("python*/site-packages"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def jaxlab_in(python, cache):
    """Runs `jaxlab …` in a folder."""

    def run(folder, *arguments, status=0, environment=(), program=("-m", "jaxlab")):
        done = subprocess.run(
            [python, "-I", "-W", "error::DeprecationWarning", *program, *map(str, arguments)],
            cwd=folder, capture_output=True, text=True, timeout=300,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CACHE_HOME": str(cache),
                 **dict(environment)},
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def jaxlab(jaxlab_in, tmp_path):
    """Runs `jaxlab …` in an empty folder."""
    return partial(jaxlab_in, tmp_path)


@pytest.fixture(scope="session")
def quick_lab(jaxlab_in, tmp_path_factory):
    """(folder, the finished process) of `jaxlab report --quick`: a result of every exercise."""
    folder = tmp_path_factory.mktemp("lab")
    done = jaxlab_in(
        folder, "report", "--quick", "--out", "out put", "--name", "Ada Łovelace", "--course",
        "Machine *Learning* #1", "--date", "1 May",
    )  # fmt: skip
    return folder / "out put", done
