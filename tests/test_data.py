"""The digits: the shipped file, the split, and files of one's own, sound and broken."""

import functools
import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io

from jaxlab.data import Digits, Examples, load_digits, one_hot, small_mnist
from jaxlab.data.parts import allot, split
from jaxlab.errors import DataError, OptionError

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("train", "validation", "test")


def sha256(array: np.ndarray) -> str:
    """Of the array's bytes, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<"))).hexdigest()


@functools.cache
def shipped() -> dict[str, np.ndarray]:
    return small_mnist.read(small_mnist.find())


@functools.cache
def truth(side: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """300 images (300, side, side) uint8, 30 of each digit in mixed order, and labels (300,)."""
    images, labels = shipped()["images"], shipped()["labels"]
    rows = np.sort(np.concatenate([np.flatnonzero(labels == d)[:30] for d in range(10)]))
    margin = (28 - side) // 2
    return images[rows, margin : margin + side, margin : margin + side], labels[rows]


def assert_truth(digits: Digits, side: int = 28, tolerance: float = 0.0) -> None:
    """The digits are those of `truth`, in the fixed split."""
    images, labels = truth(side)
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    assert digits.side == side
    for part, rows in zip(PARTS, split(labels), strict=True):
        examples = getattr(digits, part)
        assert examples.x.dtype == np.float32
        assert examples.y.dtype == np.int32
        np.testing.assert_array_equal(examples.y, labels[rows])
        np.testing.assert_allclose(examples.x, pixels[rows], rtol=0, atol=tolerance)


# --- the shipped file ---------------------------------------------------------------------------


def test_shipped_file_is_small_balanced_and_of_the_training_images():
    assert small_mnist.find().stat().st_size < 2_000_000
    arrays = shipped()
    assert list(arrays) == ["images", "labels", "index"]
    assert arrays["images"].shape == (10_000, 28, 28)
    assert [a.dtype for a in arrays.values()] == [np.uint8, np.uint8, np.int32]
    assert np.bincount(arrays["labels"]).tolist() == [1000] * 10
    assert (np.diff(arrays["index"]) > 0).all()
    assert 0 <= arrays["index"][0] < arrays["index"][-1] < 60_000


def test_shipped_file_never_changes():
    arrays = shipped()
    assert (
        sha256(arrays["images"])
        == "16374e2769d537a2b9a100f002d7dcd0670c6e9da7e83ea39f1ffcf3795dd300"
    )
    assert (
        sha256(arrays["labels"])
        == "d87247c7b30abc5d9dd7969bb16324413189598e299fc2a03e683d47188fca22"
    )
    assert (
        sha256(arrays["index"])
        == "63da2b7b2de94aa11a9f29ef1955eab538f52b327aba0a09bc138f08619d9fcf"
    )


def test_shipped_file_is_found_in_the_checkout_or_the_package():
    assert small_mnist.find().name == "small_mnist.npz"


def test_no_image_is_there_twice():
    assert len({image.tobytes() for image in shipped()["images"]}) == 10_000


@pytest.mark.parametrize("change", ["flip", "cut"])
def test_a_damaged_shipped_file_is_refused(tmp_path: Path, change: str):
    content = bytearray(small_mnist.find().read_bytes())
    if change == "flip":
        content[5000] ^= 1
    else:
        del content[-100:]
    damaged = tmp_path / "small_mnist.npz"
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"small_mnist\.npz: damaged or changed"):
        small_mnist.read(damaged)


def test_the_data_room_does_not_import_jax_or_scipy():
    code = "import sys, jaxlab.data as d; d.load_digits(); print({'jax','scipy'} & {*sys.modules})"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "set()"


# --- rebuilding it ------------------------------------------------------------------------------


@functools.cache
def maker() -> ModuleType:
    """scripts/make_small_mnist.py as a module."""
    spec = importlib.util.spec_from_file_location("maker", ROOT / "scripts/make_small_mnist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_originals(folder: Path, packed: bool) -> None:
    """A small pair of IDX files: 400 random images, 40 of each digit."""
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28), np.uint8)
    labels = (np.arange(400) % 10).astype(np.uint8)
    for name, array in ((maker().IMAGES, images), (maker().LABELS, labels)):
        sizes = struct.pack(f">{array.ndim}I", *array.shape)
        content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def test_rebuilding_gives_the_same_bytes_from_raw_and_packed_originals(tmp_path: Path):
    write_originals(tmp_path / "raw", packed=False)
    write_originals(tmp_path / "packed", packed=True)
    build = functools.partial(maker().build, per_digit=30, sha256=None)
    built = build(tmp_path / "raw")
    assert built == build(tmp_path / "raw") == build(tmp_path / "packed")
    arrays = maker().arrays_in(built)
    assert (
        sha256(arrays["index"])
        == "81714634a3005b3c0f8c43f15571ad7c1f7a93db6960329e28767fe31e32e082"
    )
    assert np.bincount(arrays["labels"]).tolist() == [30] * 10
    np.testing.assert_array_equal(arrays["labels"], arrays["index"] % 10)
    with zipfile.ZipFile(io.BytesIO(built)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_rebuilding_refuses_other_originals(tmp_path: Path):
    write_originals(tmp_path / "raw", packed=False)
    with pytest.raises(SystemExit, match=r"not MNIST's original"):
        maker().build(tmp_path / "raw")


def test_rebuilding_says_when_only_zlib_differs(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_originals(tmp_path / "raw", packed=False)
    built = maker().build(tmp_path / "raw", per_digit=30, sha256=None)
    out = tmp_path / "out.npz"
    assert maker().run(built, out, check=False) == 0
    assert out.read_bytes() == built
    np.savez(out, **maker().arrays_in(built))
    stored = out.read_bytes()
    assert maker().run(built, out, check=False) == maker().run(built, out, check=True) == 0
    assert "zlib packs into other bytes" in capsys.readouterr().out
    assert out.read_bytes() == stored
    np.savez(out, images=truth()[0])
    assert maker().run(built, out, check=True) == 1
    out.write_bytes(b"damaged")
    assert maker().run(built, out, check=True) == 1
    assert maker().run(built, out, check=False) == 0
    assert out.read_bytes() == built
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["out.npz"]


@pytest.mark.skipif(
    "JAXLAB_MNIST" not in os.environ,
    reason="set JAXLAB_MNIST to the folder of MNIST's original files",
)
def test_rebuilding_from_the_originals_gives_the_shipped_arrays():
    built = maker().build(Path(os.environ["JAXLAB_MNIST"]))
    assert maker().same_arrays(built, small_mnist.find().read_bytes())


# --- the split ----------------------------------------------------------------------------------


def test_small_mnist_is_split_evenly_over_the_digits():
    digits = load_digits()
    assert (digits.side, digits.understood) == (28, ())
    assert "small MNIST" in digits.source
    for part, each in zip(PARTS, (600, 200, 200), strict=True):
        examples = getattr(digits, part)
        assert isinstance(examples, Examples)
        assert examples.x.shape == (10 * each, 784)
        assert (examples.x.dtype, examples.y.dtype) == (np.float32, np.int32)
        assert (examples.x.min(), examples.x.max()) == (0, 1)
        assert np.bincount(examples.y).tolist() == [each] * 10


def test_the_split_never_changes_and_shares_no_row():
    arrays = shipped()
    parts = split(arrays["labels"])
    assert [sha256(arrays["index"][rows]) for rows in parts] == [
        "1d839d9787e414b1988defcde7018ff7f5477204600d60ef806667bf93b84f8f",
        "5c2c5e71ee85d2ca82ccc4d853a1784a30e0edf0b1cc2ce34f13e96a90137bda",
        "d43c80078ec60c4e52e6ca568acb6ae97a51609d22f8fc1a0216a2aa71ad11cb",
    ]
    assert np.unique(np.concatenate(parts)).size == 10_000
    np.testing.assert_array_equal(load_digits().test.y, arrays["labels"][parts.test])


def test_every_batch_of_a_part_has_mixed_digits():
    y = load_digits().train.y
    counts = np.stack([np.bincount(batch, minlength=10) for batch in y.reshape(-1, 200)])
    assert counts.min() >= 5
    assert counts.max() <= 45


@pytest.mark.parametrize("limit", [30, 100, 1234])
def test_a_limit_keeps_the_proportions(limit: int):
    whole, digits = load_digits(), load_digits(limit=limit)
    sizes = [getattr(digits, part).y.size for part in PARTS]
    assert sum(sizes) == limit
    assert np.abs(np.array(sizes) - limit * np.array([0.6, 0.2, 0.2])).max() < 1
    for part in PARTS:
        counts = np.bincount(getattr(digits, part).y, minlength=10)
        assert np.ptp(counts) <= 1
        limited = {row.tobytes() for row in getattr(digits, part).x}
        assert limited <= {row.tobytes() for row in getattr(whole, part).x}


def test_a_limit_beyond_all_keeps_all_and_too_small_a_one_is_refused():
    assert load_digits(limit=20_000).train.y.size == 6_000
    assert load_digits(limit=20_000).source == load_digits().source
    with pytest.raises(OptionError, match="limit of 29"):
        load_digits(limit=29)


@pytest.mark.parametrize("counts", [[3] * 10, [1, 2, 3, 4, 5, 100], [7, 900]])
def test_every_class_of_three_is_in_every_part(counts: list[int]):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = split(labels)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(labels.size))
    for rows in parts:
        present = set(labels[rows].tolist())
        assert present >= {label for label, count in enumerate(counts) if count >= 3}


def test_allot_gives_whole_shares_that_add_up():
    assert allot(np.array([6000, 2000, 2000]), 100).tolist() == [60, 20, 20]
    assert allot(np.array([98, 1, 1]), 10).tolist() == [8, 1, 1]
    assert allot(np.array([5, 0, 5]), 3).tolist() == [2, 0, 1]


def test_one_hot():
    encoded = one_hot(np.array([2, 0], np.int32), classes=3)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(np.array([9])).shape == (1, 10)
    for wrong in (np.array([10]), np.array([-1]), np.array([0.5]), np.array([[1]])):
        with pytest.raises(ValueError, match="labels must"):
            one_hot(wrong)
    with pytest.raises(OptionError, match=r"classes=11 .* or labels % 10 where 10 stands for 0"):
        one_hot(np.array([1, 10]))


# --- files of one's own -------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows": lambda images: images.reshape(len(images), -1),
    "columns": lambda images: images.reshape(len(images), -1).T,
    "first axis": lambda images: images,
    "last axis": lambda images: np.moveaxis(images, 0, 2),
    "channel last": lambda images: images[..., np.newaxis],
    "channel third": lambda images: np.moveaxis(images, 0, 2)[:, :, np.newaxis],
}
RANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint8": lambda images: images,
    "float to 255": lambda images: images.astype(np.float64),
    "float64 to 1": lambda images: images / 255,
    "float32 to 1": lambda images: images.astype(np.float32) / 255,
}
FROM_ONE = "labels 1 to 10, where 10 is the digit 0"
LABELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "vector": (lambda y: y, "labels 0 to 9"),
    "float column": (lambda y: y[:, np.newaxis].astype(float), "labels 0 to 9"),
    "row": (lambda y: y[np.newaxis], "labels 0 to 9"),
    "from one": (lambda y: np.where(y == 0, 10, y), FROM_ONE),
    "one more": (lambda y: y + 1, "labels 1 to 10, where 1 is the digit 0"),
    "one-hot": (lambda y: one_hot(y), "one-hot, the first of the ten"),
    "one-hot bool columns": (lambda y: one_hot(y).T == 1, "one-hot, the first of the ten"),
    "one-hot from one": (lambda y: np.roll(one_hot(y), -1, axis=1), "one-hot, the last of the"),
}
WRITERS: dict[str, tuple[str, Callable]] = {
    "npz": (".npz", np.savez),
    "packed npz": (".npz", np.savez_compressed),
    "mat": (".mat", lambda file, **arrays: scipy.io.savemat(file, arrays)),
    "packed mat": (
        ".mat",
        lambda file, **arrays: scipy.io.savemat(file, arrays, do_compression=True),
    ),
}


def write(folder: Path, writer: str = "npz", **arrays: np.ndarray) -> Path:
    """`arrays` under their names in a new file of `folder`."""
    suffix, save = WRITERS[writer]
    path = folder / f"digits{suffix}"
    save(path, **arrays)
    return path


def write_table(path: Path, *columns: np.ndarray, delimiter: str = ",", header: str = "") -> Path:
    """`columns` (m, n) or (m,) side by side as text, below `header` if there is one."""
    table = np.column_stack(columns)
    np.savetxt(path, table, fmt="%.17g", delimiter=delimiter, header=header, comments="")
    return path


def said(digits: Digits) -> str:
    return "\n".join(digits.understood)


@pytest.mark.parametrize("scale", RANGES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [28, 20])
@pytest.mark.parametrize("writer", ["npz", "mat"])
@pytest.mark.parametrize("transposed", [False, True])
def test_layouts_and_ranges(
    tmp_path: Path, writer: str, side: int, layout: str, scale: str, transposed: bool
):
    images, labels = truth(side)
    stored = images.swapaxes(1, 2) if transposed else images
    stored = LAYOUTS[layout](RANGES[scale](stored))
    digits = load_digits(write(tmp_path, writer, X=stored, y=labels))
    assert_truth(digits, side)
    assert ("turned upright" in said(digits)) == transposed
    assert ("divided by 255" in said(digits)) == (not scale.endswith("to 1"))
    assert "inverted" not in said(digits)
    assert f"300 images of {side} × {side} pixels" in said(digits)


@pytest.mark.parametrize("form", LABELS)
@pytest.mark.parametrize("writer", WRITERS)
def test_labels(tmp_path: Path, writer: str, form: str):
    images, labels = truth()
    stored, words = LABELS[form]
    digits = load_digits(write(tmp_path, writer, X=images, y=stored(labels)))
    assert_truth(digits)
    assert words in said(digits)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("full", [255, 1])
def test_inverted_images(tmp_path: Path, full: int, transposed: bool):
    images, labels = truth()
    stored = (255 - images).swapaxes(1, 2) if transposed else 255 - images
    digits = load_digits(write(tmp_path, X=stored if full == 255 else stored / 255, y=labels))
    assert_truth(digits, tolerance=0 if full == 255 else 1e-7)
    assert "inverted" in said(digits)


def test_images_that_are_no_digits_are_left_as_they_are(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    digits = load_digits(write(tmp_path, X=noise, y=truth()[1]))
    assert "turned" not in said(digits)
    assert "inverted" not in said(digits)
    rows = split(truth()[1]).train
    np.testing.assert_array_equal(
        digits.train.x, noise[rows].reshape(180, 784).astype(np.float32) / 255
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("header", ["", "names", "numbers"])
@pytest.mark.parametrize("side", [28, 20])
def test_tables(tmp_path: Path, side: int, header: str, first: bool, delimiter: str):
    images, labels = truth(side)
    pixels = images.reshape(300, -1)
    names = [f"pixel{i}" if header == "names" else str(i) for i in range(side * side)]
    names = ["Label", *names] if first else [*names, "Label"]
    path = write_table(
        tmp_path / "digits.CSV",
        *((labels, pixels) if first else (pixels, labels)),
        delimiter=delimiter,
        header=delimiter.join(names) if header else "",
    )
    digits = load_digits(path)
    assert_truth(digits, side)
    assert f"labels in column {1 if first else side * side + 1}" in said(digits)


def test_tables_with_a_byte_order_mark_quotes_and_fractions(tmp_path: Path):
    images, labels = truth(20)
    path = write_table(tmp_path / "digits.csv", labels, images.reshape(300, -1) / 255)
    text = path.read_text().replace(",0,", ',"0",').replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert_truth(load_digits(path), 20)


def test_the_label_column_of_a_table_can_be_named(tmp_path: Path):
    images, labels = truth(20)
    pixels = images.reshape(300, -1).copy()
    pixels[:, -1] = np.arange(300) % 3  # may be labels as well
    path = write_table(tmp_path / "digits.csv", labels, pixels)
    with pytest.raises(DataError, match=r"both may be.*--labels first"):
        load_digits(path)
    assert load_digits(path, labels="first").side == 20
    path = write_table(path, labels, pixels, header=",".join(f"c{i}" for i in range(401)))
    assert load_digits(path, labels="c0").side == 20
    with pytest.raises(DataError, match="no column is called 'z'"):
        load_digits(path, labels="z")
    with pytest.raises(DataError, match="leave out --images"):
        load_digits(path, images="pixels")


@pytest.mark.parametrize(
    "names",
    [
        ("X", "Y"), ("x", "T"), ("Images", "LABELS"), ("data", "label"), ("features", "targets"),
        ("inputs", "digits"), ("pixels", "class"),
    ],
)  # fmt: skip
def test_usual_names(tmp_path: Path, names: tuple[str, str]):
    images, labels = truth()
    path = write(tmp_path, "mat", **dict(zip(names, (images, labels), strict=True)), other=labels)
    digits = load_digits(path)
    assert_truth(digits)
    assert f"images {names[0]} (300, 28, 28) uint8, labels {names[1]}" in said(digits)
    assert "not used: other" in said(digits)


@pytest.mark.parametrize(
    "names",
    [
        "x_train y_train x_test y_test", "trainX trainY testX testY", "X y Xtest ytest",
        "train_images train_labels test_images test_labels",
        "TrainingData TrainingTargets TestData TestTargets",
    ],
)  # fmt: skip
def test_a_file_with_its_own_test_part(tmp_path: Path, names: str):
    images, labels = truth()
    arrays = (images[:200], labels[:200], images[200:], labels[200:])
    digits = load_digits(write(tmp_path, **dict(zip(names.split(), arrays, strict=True))))
    assert "test part as in the file" in said(digits)
    assert digits.test.y.size == 100
    own = {row.tobytes() for row in images[200:].reshape(100, 784).astype(np.float32) / 255}
    assert {row.tobytes() for row in digits.test.x} == own
    assert abs(digits.validation.y.size - 50) <= 5
    assert digits.train.y.size + digits.validation.y.size == 200
    assert set(digits.validation.y.tolist()) == set(range(10))


def test_a_file_with_all_three_parts_or_without_a_test_part(tmp_path: Path):
    images, labels = truth()
    arrays = {
        "xtrain": images[:200], "ytrain": labels[:200], "xval": images[200:250],
        "yval": labels[200:250], "xtest": images[250:], "ytest": labels[250:],
    }  # fmt: skip
    digits = load_digits(write(tmp_path, **arrays))
    sizes = [getattr(digits, part).y.size for part in PARTS]
    assert sizes == [200, 50, 50]
    assert "parts as in the file" in said(digits)
    del arrays["ytest"]
    digits = load_digits(write(tmp_path, **arrays))
    assert digits.validation.y.size == 50
    assert abs(digits.test.y.size - 50) <= 5
    assert "limited to 40" in said(load_digits(write(tmp_path, **arrays), limit=40))


def test_arrays_can_be_named(tmp_path: Path):
    images, labels = truth()
    path = write(tmp_path, a=images, b=labels, X=images[:5], y=labels)
    assert_truth(load_digits(path, images="a", labels="b"))
    assert_truth(load_digits(path, images="a"))
    with pytest.raises(OptionError, match="give the file as well"):
        load_digits(images="a")


@pytest.mark.parametrize("side", [28, 20])
def test_square_arrays_are_settled_by_the_corner_pixel(tmp_path: Path, side: int):
    count = side * side
    inner = slice((28 - side) // 2, (28 + side) // 2)
    pixels = shipped()["images"][:count, inner, inner].reshape(count, count)
    labels = shipped()["labels"][:count]
    by_rows = load_digits(write(tmp_path, X=pixels, y=labels))
    by_columns = load_digits(write(tmp_path, X=pixels.T, y=labels))
    rows = split(labels).train
    np.testing.assert_array_equal(by_rows.train.x, pixels[rows].astype(np.float32) / 255)
    np.testing.assert_array_equal(by_rows.train.x, by_columns.train.x)
    assert "in each column" in said(by_columns)
    with pytest.raises(DataError, match=f"hold {count} images, but there are 300 labels"):
        load_digits(write(tmp_path, X=pixels, y=labels[:300]))


def test_a_shape_that_fits_two_sizes_is_settled_by_the_labels(tmp_path: Path):
    images, labels = shipped()["images"], shipped()["labels"]
    wide = load_digits(write(tmp_path, X=images[:400].reshape(400, 784), y=labels[:400]))
    small = images[:784, 4:24, 4:24].reshape(784, 400)
    narrow = load_digits(write(tmp_path, X=small.T, y=labels[:784]))
    assert (wide.side, narrow.side) == (28, 20)


def test_resampled_images_may_overshoot_a_little(tmp_path: Path):
    """As in ex3data1.mat, whose values run from −0.13 to 1.13, stored column by column."""
    images, labels = truth(20)
    pixels = (images / 255 * 1.26 - 0.13).swapaxes(1, 2).reshape(300, 400)
    digits = load_digits(
        write(tmp_path, "packed mat", X=pixels, y=np.where(labels == 0, 10, labels))
    )
    assert "clipped to 0 to 1" in said(digits)
    assert "turned upright" in said(digits)
    assert (digits.train.x.min(), digits.train.x.max()) == (0, 1)


def test_oddities_are_said(tmp_path: Path):
    images, labels = truth()
    few = np.flatnonzero(labels != 7)
    few = np.delete(few, np.flatnonzero(labels[few] == 4)[2:])
    pixels = images[few].copy()
    pixels[:3] = 0
    notes = said(load_digits(write(tmp_path, X=pixels, y=labels[few])))
    assert "3 of the images are blank" in notes
    assert "no example of 7" in notes
    assert "too few examples of 4" in notes


def test_big_endian_matlab_files(tmp_path: Path):
    """What MATLAB wrote on a SPARC: every number in the other order."""
    images, labels = truth(20)

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix(name: str, array: np.ndarray) -> bytes:
        flags, shape = struct.pack(">II", 6, 0), struct.pack(">ii", *array.shape)
        values = element(4, array.astype(">u2").tobytes(order="F"))
        head = element(6, flags) + element(5, shape) + element(1, name.encode())
        return element(14, head + values)

    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    content += matrix("X", images.reshape(300, 400)) + matrix("y", labels[:, np.newaxis])
    path = tmp_path / "digits.mat"
    path.write_bytes(content)
    assert_truth(load_digits(path), 20)


# --- broken files -------------------------------------------------------------------------------


def with_value(value: float, dtype: type = float) -> np.ndarray:
    images = truth()[0].astype(dtype)
    images[5, 14, 14] = value
    return images


def with_label(value: float) -> np.ndarray:
    labels = truth()[1].astype(float)
    labels[5] = value
    return labels


def cells() -> np.ndarray:
    return np.array([[1, "a"]], dtype=object)


BAD_ARRAYS: dict[str, tuple[dict[str, object], str]] = {
    "NaN": ({"X": with_value(np.nan)}, "NaN or infinite"),
    "inf": ({"X": with_value(np.inf)}, "NaN or infinite"),
    "negative": ({"X": with_value(-1)}, "values from -1 to 255"),
    "too large": ({"X": with_value(256)}, "values from 0 to 256"),
    "constant": ({"X": np.full((300, 28, 28), 7)}, "constant, every pixel is 7"),
    "label 11": ({"y": with_label(11)}, r"labels 'y' hold 11\.0, which is no digit"),
    "label -1": ({"y": with_label(-1)}, r"hold -1\.0, which is no digit"),
    "label 3.5": ({"y": with_label(3.5)}, r"hold 3\.5, which is no digit"),
    "label NaN": ({"y": with_label(np.nan)}, "hold nan, which is no digit"),
    "labels 0 and 10": ({"y": with_label(10)}, "both 0 and 10"),
    "counts": ({"y": truth()[1][:299]}, "hold 300 images, but there are 299 labels"),
    "no images": ({"X": np.zeros((0, 784)), "y": np.zeros((0, 1))}, "number 0"),
    "few": ({"X": truth()[0][:29], "y": truth()[1][:29]}, "only 29 examples"),
    "one class": ({"y": np.full(300, 3)}, "only one digit, 3"),
    "shape of images": ({"X": np.zeros((300, 785))}, r"have shape \(300, 785\)"),
    "shape of labels": ({"y": np.zeros((300, 3))}, r"have shape \(300, 3\)"),
    "two ones": ({"y": np.ones((300, 10))}, "single 1 for each"),
    "complex": ({"X": truth()[0] * 1j}, "is not an array of numbers but: complex"),
    "ambiguous": ({"data": truth()[0]}, "both 'X' and 'data' could be meant"),
    "two wholes": ({"xtrain": truth()[0], "ytrain": truth()[1]}, "images of no part as well"),
}  # fmt: skip


@pytest.mark.parametrize("writer", ["npz", "packed mat"])
@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path: Path, fault: str, writer: str):
    arrays, message = BAD_ARRAYS[fault]
    images, labels = truth()
    path = write(tmp_path, writer, **({"X": images, "y": labels} | arrays))
    with pytest.raises(DataError, match=message) as caught:
        load_digits(path)
    assert str(caught.value).startswith(str(path))


def test_unusual_names_are_listed(tmp_path: Path):
    path = write(tmp_path, a=truth()[0], b=truth()[1])
    with pytest.raises(DataError) as caught:
        load_digits(path)
    message = str(caught.value)
    assert "a  (300, 28, 28)  uint8" in message
    assert "b  (300,)         uint8" in message
    assert "--images NAME --labels NAME" in message
    with pytest.raises(DataError, match="no array called 'c'"):
        load_digits(path, images="c")
    with pytest.raises(DataError, match="the labels need a name as well"):
        load_digits(path, images="a")


def test_a_training_part_of_one_example_is_refused(tmp_path: Path):
    images, labels = truth()
    arrays = {"xtrain": images[:1], "ytrain": labels[:1], "xtest": images, "ytest": labels}
    with pytest.raises(DataError, match="too few examples to hold any of them out"):
        load_digits(write(tmp_path, **arrays))


def test_parts_that_differ_are_refused(tmp_path: Path):
    images, labels = truth()
    arrays = {"xtrain": images, "ytrain": labels, "xtest": truth(20)[0], "ytest": labels}
    with pytest.raises(DataError, match="parts differ"):
        load_digits(write(tmp_path, **arrays))


class Trap:
    """Unpickling it would make the test fail."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_are_never_opened(tmp_path: Path):
    trap = np.array([Trap()] * 300, dtype=object)
    with pytest.raises(DataError, match="'X' is not an array of numbers but: object"):
        load_digits(write(tmp_path, X=trap, y=truth()[1]))
    for name in ("digits.pkl", "digits.npz", "digits.mat", "digits.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(DataError):
            load_digits(tmp_path / name)


@pytest.mark.parametrize("name", ["digits.py", "digits.pkl", "digits", "digits.h5", "digits.npy"])
def test_other_kinds_of_files_are_not_opened(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="are not opened: digits are read"):
        load_digits(path)


def test_what_is_no_file_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        load_digits(tmp_path / "missing.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="not a file"):
        load_digits(tmp_path / "folder.npz")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="not a file"):
        load_digits(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load_digits("null\0character.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"", "empty"),
        ("a.npz", b"\x89PNG\r\n\x1a\n" + bytes(500), "not an .npz file at all"),
        ("a.mat", b"some notes of mine\n" * 50, "not a MATLAB file of version 5"),
        ("a.mat", b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "-v7"),
        ("a.mat", b"\x89HDF\r\n\x1a\n" + bytes(500), "-v7"),
        ("a.csv", b"some notes of mine\n" * 50, "first line has 1 columns"),
        ("a.csv", b"1,2,3\n" * 50, "first line has 3 columns: 785"),
        ("a.csv", b"\xff\xfe1\x00,\x00", "not a .csv file at all"),
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(500), "not a .csv file at all"),
        ("a.csv", b"\n\n", "first line has"),
        ("a.csv", b"label" + b",p" * 784 + b"\n", "there are no images"),
    ],
)
def test_wrong_contents_are_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_digits(tmp_path / name)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, writer: str, kept: float):
    path = write(tmp_path, writer, X=truth()[0], y=truth()[1])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match="cut short"):
        load_digits(path)


def test_faults_of_a_table_are_found(tmp_path: Path):
    images, labels = truth(20)
    path = write_table(tmp_path / "digits.csv", labels, images.reshape(300, -1))
    lines = path.read_text().splitlines()

    def refuse(line: int, text: str, message: str) -> None:
        path.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]))
        with pytest.raises(DataError, match=message):
            load_digits(path)

    refuse(7, "1,2,3", "line 7 has 3 columns, the first 401")
    refuse(300, lines[299][:100], "line 300 has .* columns, the first 401")
    refuse(7, lines[6].replace(",0", ",black", 1), "line 7, column .: 'black' is no number")
    refuse(7, lines[6].replace(",0", ",", 1), "line 7, column .: '' is no number")
    refuse(1, lines[0].replace(",0", ",black", 1), "line 1, column .: 'black' is no number")
    refuse(7, "seven" + lines[6][1:], "line 7, column 1: 'seven'")
    refuse(7, "11" + lines[6][1:], "neither is .first 0 to 11")
    refuse(7, lines[6].replace(",0", ",nan", 1), "NaN or infinite")
    refuse(7, lines[6].replace(",0", ",1e60", 1), "NaN or infinite")
    refuse(7, lines[6].replace(",0", ",-3", 1), "values from -3")


def test_cells_structs_and_objects_are_listed_but_never_read(tmp_path: Path):
    images, labels = truth()
    others = {"X2": cells(), "s": {"field": 1}, "text": "abc"}
    assert_truth(load_digits(write(tmp_path, "mat", X=images, y=labels, **others)))
    path = write(tmp_path, "mat", X=cells(), y=labels)
    with pytest.raises(DataError, match="'X' is not an array of numbers but: cell array"):
        load_digits(path)
    with pytest.raises(DataError, match="but: struct"):
        load_digits(write(tmp_path, "mat", X=images, y={"field": 1}))
    with pytest.raises(DataError, match=r"cells +\(1, 2\) +cell array"):
        load_digits(write(tmp_path, "mat", cells=cells()))


def npz_claiming(path: Path, shape: tuple[int, ...], **changes: int) -> Path:
    """A .npz of a few bytes whose header claims an array X of `shape`."""
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        npy, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", npy.getvalue() + bytes(1000))
        for name, value in changes.items():
            setattr(archive.infolist()[0], name, value)
    return path


def test_absurd_sizes_are_refused_before_they_take_memory(tmp_path: Path):
    with pytest.raises(DataError, match=r"promises \(1000000000, 784\)"):
        load_digits(npz_claiming(tmp_path / "a.npz", (10**9, 784)))
    with pytest.raises(DataError, match="promises"):
        load_digits(npz_claiming(tmp_path / "a.npz", (-1, -784)))
    claimed = 10**7 * 784 * 8 + 128
    npz_claiming(tmp_path / "a.npz", (10**7, 784), file_size=claimed)
    with pytest.raises(DataError, match="MiB of arrays, where 512 MiB are allowed"):
        load_digits(tmp_path / "a.npz", images="X", labels="X")
    path = write(tmp_path, "mat", X=truth()[0].reshape(300, 784), y=truth()[1])
    shape = struct.pack("<ii", 300, 784)
    path.write_bytes(path.read_bytes().replace(shape, struct.pack("<ii", 2**30, 784)))
    with pytest.raises(DataError, match="MiB of arrays, where 512 MiB are allowed"):
        load_digits(path)


# --- mutated files ------------------------------------------------------------------------------


def mutated(content: bytes, dice: random.Random) -> bytes:
    """`content` with one to eight small faults, most of them near its ends."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8))):
        if not changed:
            break
        at = dice.randrange(dice.choice((len(changed), min(len(changed), 400))))
        fault = dice.randrange(5)
        if fault == 0:
            changed[at] = dice.randrange(256)
        elif fault == 1:
            changed[at : at + 4] = dice.choice((b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4)))
        elif fault == 2:
            changed[at : at + 1] = dice.choice((b"9", b"-", b"\n", b",", b"nan", b"e9", b'"'))
        elif fault == 3:
            del changed[at : at + dice.randrange(1, 40)]
        else:
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("kind", [*WRITERS, "csv"])
def test_mutated_files_give_digits_or_a_data_error(tmp_path: Path, kind: str):
    images, labels = (array[:60] for array in truth(20))
    if kind == "csv":
        path = write_table(tmp_path / "digits.csv", labels, images.reshape(60, -1))
    else:
        path = write(tmp_path, kind, X=images, y=labels, other=labels / 2)
    content, dice, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        path.write_bytes(mutated(content, dice))
        try:
            digits = load_digits(path)
        except DataError:
            refused += 1
        else:
            assert digits.train.x.shape[1] == digits.side**2
            assert 0 <= digits.train.x.min() <= digits.train.x.max() <= 1
    assert refused > 50
