"""Results, reports and compiled programs are whole, whatever is killed and whoever else writes."""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxlab import figures, results, writing
from jaxlab.compilation import VerifiedCache
from jaxlab.convnet import checkpoints
from jaxlab.convnet.checkpoints import Checkpoints
from jaxlab.convnet.training import State
from jaxlab.errors import OutputError

ROOT = Path(__file__).resolve().parents[1]


class Killed(BaseException):
    """In the place of a kill."""


@dataclass(frozen=True)
class Config:
    seed: int = 0


def result(seed: int) -> results.Result:
    """One whose figures are text that says the seed."""
    drawn = {name: f"{name} {seed}" for name in ("one", "two", "three")}
    return results.Result("ex1", "", Config(seed), {"seed": seed}, drawn, ())


@pytest.fixture
def text_figures(monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: path.write_text(figure))
    monkeypatch.setattr(results, "environment", lambda: {"packages": {}})


def seed_of(folder: Path) -> int | None:
    """The seed of the result, whose figures are all its own; None where there is no result."""
    record = results.load(folder, "ex1")
    if record is None:
        return None
    seed = record["numbers"]["seed"]
    for name, files in record["figures"].items():
        for file in files:
            assert (folder / "ex1" / file).read_text() == f"{name} {seed}"
    return seed


def test_killed_in_any_place_it_is_the_old_result_or_the_new_one(
    text_figures, tmp_path, monkeypatch
):
    replace = os.replace
    seen = set()
    for steps in range(9):
        left = [steps]

        def dying(a, b, left=left):
            if not left[0]:
                raise Killed
            left[0] -= 1
            replace(a, b)

        folder = tmp_path / str(steps)
        result(1).save(folder, seconds=0.0)
        (folder / "ex1" / ".writing-old").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            if steps < 8:
                with pytest.raises(Killed):
                    result(2).save(folder, seconds=0.0)
            else:
                result(2).save(folder, seconds=0.0)
        assert seed_of(folder) in (None, 1, 2)
        results.finish(folder, "ex1")
        # Once the new one is whole it is not lost.
        assert seed_of(folder) == (1 if steps == 0 else 2)
        seen.add(seed_of(folder))
        assert {path.name for path in (folder / "ex1").glob(".*")} == set()
        result(3).save(folder, seconds=0.0)
        assert seed_of(folder) == 3
    assert seen == {1, 2}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from jaxlab import figures, results
from test_writing import result
figures.save = lambda figure, path: path.write_text(figure)
results.environment = lambda: {"packages": {}}
while not Path(sys.argv[2], "enough").exists():
    result(int(sys.argv[3])).save(sys.argv[2], seconds=0.0)
"""


def test_figures_of_three_runs_in_one_folder_never_mix(tmp_path):
    (tmp_path / "ex1").mkdir()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ROOT / "tests"), str(tmp_path), str(seed)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for seed in range(3)
    ]  # fmt: skip
    seen, give_up = Counter(), time.monotonic() + 120
    try:
        # Until the results of at least two of them were seen, and many in all.
        while (len(seen) < 2 or seen.total() < 200) and time.monotonic() < give_up:
            with writing.unchanged([tmp_path / "ex1"]):
                if (seed := seed_of(tmp_path)) is not None:
                    seen[seed] += 1
            time.sleep(0.001)  # else the writers hardly get the lock
    finally:
        (tmp_path / "enough").touch()
        for writer in writers:
            assert writer.wait(timeout=60) == 0
    assert seed_of(tmp_path) in range(3)
    assert len(seen) > 1
    assert not list((tmp_path / "ex1").glob(".*"))


def test_figures_of_an_earlier_result_do_not_stay(text_figures, tmp_path):
    result(0).save(tmp_path, seconds=0.0)
    (tmp_path / "ex1" / "mine.png").write_text("somebody's own")
    fewer = result(1)
    del fewer.figures["two"]
    fewer.save(tmp_path, seconds=0.0)
    assert seed_of(tmp_path) == 1
    assert {path.name for path in (tmp_path / "ex1").iterdir()} == {
        "result.json", "mine.png", "one.png", "one.svg", "three.png", "three.svg"
    }  # fmt: skip


def test_a_new_run_takes_the_place_of_all_networks_but_those_being_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "_open", lambda self: SimpleNamespace(save=lambda *_, **__: 0))
    monkeypatch.setattr(checkpoints, "_digest_of_state", lambda state: "")
    folders = [tmp_path / f"seed-{n}" for n in range(3)]
    for folder in folders:
        (folder / "50").mkdir(parents=True)
    state = State(np.int32(1), {}, {}, ())
    with Checkpoints(folders[2]).claimed():
        Checkpoints(folders[0], fresh=True, replaces=folders[1:]).save(state, {})
    assert [len(list(folder.iterdir())) for folder in folders] == [0, 0, 1]


def test_one_run_trains_into_a_folder_of_checkpoints(tmp_path):
    with Checkpoints(tmp_path / "seed-0").claimed():
        with (
            pytest.raises(OutputError, match=r"another run trains into .*seed-0: wait"),
            Checkpoints(tmp_path / "seed-0").claimed(),
        ):
            pass
        with Checkpoints(tmp_path / "seed-1").claimed():
            pass
    with Checkpoints(tmp_path / "seed-0").claimed():
        pass


def test_a_compiled_program_that_was_half_written_is_not_in_the_cache(tmp_path):
    cache = VerifiedCache(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as on a disk that gets full
    try:
        cache.put("program", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.get("program") is None
    assert not list(tmp_path.iterdir())
    cache.put("program", bytes(5000))
    assert cache.get("program") == bytes(5000)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "numbers.json"
    writing.write_whole(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*numbers\.json: File too large"):
            writing.write_whole(path, json.dumps([0] * 5000).encode())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["numbers.json"]
