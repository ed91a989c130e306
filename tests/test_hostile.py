"""Hostile input does no harm: what test_data.py and test_mnist.py do not have already."""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import tiny_mnist

from jaxlab import cli, load_digits
from jaxlab.data.mnist import load_mnist, originals
from jaxlab.errors import DataError

MIB = 2**20
WRITABLE_NAMES = ["with space", "étude\n数字", "-dash a:b", "$(touch harm);'\""]
# On some systems a name need not be text at all.
NAMES = [*WRITABLE_NAMES, os.fsdecode(b"no\xfftext")] if os.name == "posix" else ["with space", "é"]


@contextmanager
def memory_below(most: int):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


# --- bombs and absurd headers ---


def npy_header(header: str, length: int | None = None, version: int = 2) -> bytes:
    text = header.encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<I", size) + text


def zipped(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_a_header_of_100_megabytes_is_not_read(tmp_path):
    described = "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 400), }"
    for header in (npy_header(described + " " * 100 * MIB), npy_header(described, 2**32 - 1)):
        path = zipped(tmp_path / "digits.npz", X=header, y=header)
        del header
        with memory_below(8 * MIB), pytest.raises(DataError, match="damaged, cut short"):
            load_digits(path)


def test_an_entry_that_unpacks_to_more_than_it_claims_is_refused(tmp_path):
    images, labels = np.zeros((60, 400), np.uint8), np.arange(60) % 10
    images[:, 5] = 1
    files = {}
    for name, array in (("X", images), ("y", labels)):
        file = io.BytesIO()
        np.save(file, array)
        files[name] = file.getvalue()
    whole = len(files["X"])
    files["X"] += bytes(300 * MIB)
    path = zipped(tmp_path / "digits.npz", **files)
    content = path.read_bytes()
    size = struct.pack("<I", whole + 300 * MIB)
    assert content.count(size) == 2  # in the entry and in the directory
    path.write_bytes(content.replace(size, struct.pack("<I", whole)))
    del content, files
    with memory_below(16 * MIB), pytest.raises(DataError, match="damaged"):
        load_digits(path)


def test_a_matrix_that_unpacks_to_more_than_it_claims_takes_no_more_memory(tmp_path):
    flags, shape = struct.pack("<IIII", 6, 8, 9, 0), struct.pack("<IIii", 5, 8, 60, 400)
    head = flags + shape + struct.pack("<IIc7x", 1, 1, b"X") + struct.pack("<II", 2, 60 * 400)
    body = struct.pack("<II", 14, len(head) + 60 * 400) + head + bytes(300 * MIB)
    packed = zlib.compress(body, 1)
    labels = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, 60, 1)
    labels += struct.pack("<IIc7x", 1, 1, b"y") + struct.pack("<II", 2, 60) + bytes(64)
    path = tmp_path / "digits.mat"
    path.write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
        + struct.pack("<II", 15, len(packed)) + packed
        + struct.pack("<II", 14, len(labels)) + labels
    )  # fmt: skip
    del body, packed
    with memory_below(16 * MIB), pytest.raises(DataError, match="constant"):
        load_digits(path)


@pytest.mark.parametrize(("code", "kind"), [(16, "function"), (17, "object"), (3, "object")])
def test_functions_and_objects_of_matlab_are_named_and_not_read(tmp_path, code, kind):
    inner = struct.pack("<IIII", 6, 8, code, 0) + struct.pack("<IIii", 5, 8, 60, 400)
    inner += struct.pack("<IIc7x", 1, 1, b"X") + struct.pack("<II", 2, 8) + b"@(x)evil"
    path = tmp_path / "digits.mat"
    path.write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
        + struct.pack("<II", 14, len(inner)) + inner
    )  # fmt: skip
    with pytest.raises(DataError, match=kind):
        load_digits(path)


def test_a_gzip_bomb_of_its_real_size_takes_no_more_than_is_allowed(tmp_path):
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.PACKED)
    bomb = folder / f"{originals.TRAIN_IMAGES}.gz"
    with gzip.open(bomb, "wb", 1) as file:
        for _ in range(20):  # 640 MiB
            file.write(bytes(32 * MIB))
    with memory_below(512 * MIB), pytest.raises(DataError, match="too large"):
        load_mnist(mnist_dir=folder)


@pytest.mark.parametrize("sizes", [(2**31, 28, 28), (2**32 - 1,) * 3, (2**31, 2**31, 0)])
def test_absurd_dimensions_in_idx_take_no_memory(tmp_path, sizes):
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    header = bytes((0, 0, 8, 3)) + struct.pack(">III", *sizes)
    (folder / originals.TRAIN_IMAGES).write_bytes(header + bytes(28 * 28))
    # Room for the largest file is reserved before one is read, but not touched.
    with memory_below(256 * MIB), pytest.raises(DataError, match="damaged or cut short"):
        load_mnist(mnist_dir=folder)


# --- names ---


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder to work in, and the bytes of a file of digits."""
    monkeypatch.chdir(tmp_path)
    digits = load_digits(limit=100)
    np.savez("plain.npz", X=digits.train.x, y=digits.train.y)
    return (tmp_path / "plain.npz").read_bytes()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_files_and_folders(course, tmp_path, capsys, name):
    (tmp_path / f"{name}.npz").write_bytes(course)
    options = ["--inputs=2", "--hidden=2", "--examples=3", "--digit-hidden=2", "--coordinates=1"]
    status = cli.main(["ex3", *options, f"--data={name}.npz", f"--out=out {name}"])
    said = capsys.readouterr()
    assert status == 0, said.err
    record = json.loads((tmp_path / f"out {name}" / "ex3" / "result.json").read_bytes())
    shown = name.encode("utf-8", "replace").decode()
    assert record["config"]["data"] == f"{shown}.npz"
    assert not (tmp_path / "harm").exists()

    (tmp_path / f"{name}.npz").write_bytes(course[:-100])
    assert cli.main(["ex3", *options, f"--data={name}.npz"]) == 2
    assert "damaged, cut short" in capsys.readouterr().err

    tiny_mnist.write(tmp_path / f"idx {name}", tiny_mnist.RAW)
    assert len(load_mnist(mnist_dir=tmp_path / f"idx {name}").test.labels) == 20
    assert cli.main(["ex7", f"--mnist-dir=nowhere {name}"]) == 2
    assert "is no folder" in capsys.readouterr().err


MINE = """
import numpy as np

def cost(theta, X, y):
    r = X @ theta - y
    return r @ r / 2, X.T @ r
"""


def test_names_of_files_to_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "hand ins é\n"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(MINE)
    assert cli.main(["check", f"{folder}", "--json"]) in (0, 1, 2)
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == len(NAMES)
    assert not list(tmp_path.rglob("harm"))
