"""A full disk, a read-only folder, no home, no network: a sentence and status 2, or it works."""

import json
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import tiny_mnist
import wholeness

NOWHERE = "/proc/nowhere"  # which not even root can make
MINE = """
import numpy as np
def cost(W, b, X, Y):
    a = 1 / (1 + np.exp(-(W @ X + b[:, None])))
    d = (a - Y) * a * (1 - a)
    return ((a - Y) ** 2).sum() / 2 / X.shape[1], (d @ X.T / X.shape[1], d.mean(axis=1))
"""


@pytest.fixture
def place(tmp_path):
    return wholeness.Place(tmp_path)


@pytest.fixture
def mount(tmp_path):
    """Mounts a small disk of its own: mount(name, size, "full" | "read-only" | "")."""
    mounted = []

    def make(name: str, size: str = "64k", how: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"a disk of a few KiB cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        if how == "full":
            with suppress(OSError), (folder / "fill").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        if how == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        return folder

    if shutil.which("mount") is None:
        pytest.skip("there is no program mount")
    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def refused(ended: tuple[int, str, str], *words: str) -> None:
    status, _, err = ended
    assert status == 2, err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("jaxlab ")
    for word in words:
        assert word in last


def test_results_on_a_full_disk(place, mount):
    out = mount("small")
    refused(place.run("ex1", "--quick", "--out", out), str(out), "No space left", "--out")
    assert [path for path in out.rglob("*") if path.is_file()] == []
    assert wholeness.litter(out) == []


def test_a_report_where_nothing_else_can_be_written(place, mount):
    nothing = str(mount("nothing", how="read-only"))
    everywhere = {"HOME": nothing, "XDG_CACHE_HOME": nothing, "TMPDIR": nothing}
    status, out, err = place.run(
        "report", "--quick", "--only", "1", "--out", "out", environment=everywhere
    )
    assert status == 0, err
    assert "Traceback" not in err
    assert "written: out/lab3.pdf" in out
    assert wholeness.faults(place.folder / "out") == []
    refused(place.run("report", "--quick", "--out", f"{nothing}/out"), nothing, "Read-only")


def test_without_a_home(place):
    nowhere = {"HOME": NOWHERE, "XDG_CACHE_HOME": f"{NOWHERE}/cache", "MPLCONFIGDIR": ""}
    status, _, err = place.run("ex1", "--quick", "--out", "out", environment=nowhere)
    assert status == 0, err
    assert "warning" not in err.lower()
    folder = tiny_mnist.write(place.folder / "files", tiny_mnist.PACKED)
    refused(
        place.run("data", "fetch", "--mnist-dir", folder, environment=nowhere), "XDG_CACHE_HOME"
    )


def test_a_cache_without_room_keeps_no_pieces(place, mount):
    caches = mount("disk", "40k")
    status, _, err = place.run(
        "ex1", "--quick", "--out", "out", environment={"XDG_CACHE_HOME": str(caches)}
    )
    assert status == 0, err
    assert "compilation cache" not in err
    assert wholeness.litter(caches) == []
    # What is there serves: nothing is said about it.
    again = place.run("ex1", "--quick", "--out", "out", environment={"XDG_CACHE_HOME": str(caches)})
    assert again[0] == 0
    assert "compilation cache" not in again[2]


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_mnist_where_its_cache_cannot_be_written(place, mount, how):
    caches = mount("disk", how=how)
    folder = tiny_mnist.write(place.folder / "files", tiny_mnist.PACKED)
    ended = place.run(
        "data", "fetch", "--mnist-dir", folder, environment={"XDG_CACHE_HOME": str(caches)}
    )
    refused(ended, "make room", "XDG_CACHE_HOME")
    assert not list(caches.rglob("*ubyte*"))


def test_mnist_without_a_network(place):
    alone = ["unshare", "--net", "true"]
    if shutil.which("unshare") is None or subprocess.run(alone, capture_output=True).returncode:
        pytest.skip("there is no unshare, or it may not make a network of its own")
    program = place.start("data", "fetch", before=("unshare", "--net"))
    _, err = program.communicate(timeout=120)
    assert program.returncode == 2, err
    assert "Network is unreachable" in err
    assert "--mnist-dir DIR" in err
    assert wholeness.litter(place.caches) == []


def test_a_checked_folder_on_a_full_disk(place, mount):
    full = mount("disk", how="full")
    (place.folder / "handins").mkdir()
    (place.folder / "handins" / "mine.py").write_text(MINE)
    refused(place.run("check", "handins", "--csv", full / "table.csv"), "table.csv", "No space")
    nowhere = {name: NOWHERE for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    status, out, err = place.run("check", "handins/mine.py", "--json", environment=nowhere)
    assert status == 0, err
    assert json.loads(out)["verdict"] == "right"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["data"]])
def test_output_to_a_full_disk(place, arguments):
    with open("/dev/full", "w") as full:
        process = place.start(*arguments, stdout=full)
        _, err = process.communicate(timeout=120)
    refused((process.returncode, "", err), "No space left")


@pytest.mark.slow
def test_a_checkpoint_on_a_full_disk(place, mount):
    out = mount("small", "100k")
    refused(place.run("ex7", "--quick", "--out", out), "cannot save a checkpoint", "make room")
    assert not list(out.rglob("result.json"))
