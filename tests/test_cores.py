"""Several trainings at a time: in order, ended together."""

import os
import subprocess
import sys
import threading

import jax.numpy as jnp
import pytest

from jaxlab import cores as module
from jaxlab.cores import at_once
from jaxlab.precision import enable_x64


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)


def test_as_many_at_a_time_as_there_are_cores_and_results_in_order():
    both = threading.Barrier(2)
    counted = []

    def square(n, advance):
        both.wait(timeout=10)  # passes only where two are at it
        advance(n, note="done")
        return n * n

    found = at_once(square, [3, 1, 2, 5], lambda n, note: counted.append((n, note)))
    assert found == [9, 1, 4, 25]
    assert sorted(counted) == [(1, "done"), (2, "done"), (3, "done"), (5, "done")]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_where_one_fails_the_others_end_and_none_is_begun(error):
    begun, going_on = [], threading.Event()

    def task(n, advance):
        begun.append(n)
        if n == 0:
            going_on.wait(timeout=10)
            raise error
        while True:  # until it is told to end
            going_on.set()
            advance()

    with pytest.raises(type(error)):
        at_once(task, range(9), lambda: None)
    assert sorted(begun) == [0, 1]


@pytest.mark.parametrize(("cores", "backend"), [(1, "cpu"), (2, "gpu")])
def test_on_one_core_or_a_gpu_they_run_here_one_after_another(monkeypatch, cores, backend):
    monkeypatch.setattr(module, "cores", lambda: cores)
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    here = threading.current_thread()
    assert at_once(lambda n, advance: threading.current_thread() is here, [1, 2], print) == [
        True,
        True,
    ]


@pytest.mark.parametrize("x64", [False, True])
def test_float64_is_on_where_it_is_on_here(x64):
    with enable_x64(x64):
        dtypes = at_once(lambda n, advance: jnp.arange(2.0).dtype, [1, 2], print)
    assert dtypes == [jnp.float64 if x64 else jnp.float32] * 2


def test_nothing_to_do_is_done():
    assert at_once(lambda n, advance: n, [], print) == []


DEVICES = "import jax, jaxlab.cores as c; {}; c.one_device_each(); print(len(jax.devices()))"


@pytest.mark.parametrize(
    ("first", "environment", "devices"),
    [
        ("c.cores = lambda: 3", {}, 3),
        ("c.cores = lambda: 64", {}, 4),
        ("c.cores = lambda: 3", {"JAX_NUM_CPU_DEVICES": "2"}, 2),
        ("c.cores = lambda: 3", {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}, 2),
        ("c.cores = lambda: 3; jax.devices()", {}, 1),
    ],
)
def test_a_device_for_each_core_unless_jax_was_told_or_has_begun(first, environment, devices):
    done = subprocess.run(
        [sys.executable, "-c", DEVICES.format(first)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
    )  # fmt: skip
    assert done.stdout == f"{devices}\n", done.stderr
