"""Rebuild data/small_mnist.npz from MNIST's original training files.

    python scripts/make_small_mnist.py FOLDER              write data/small_mnist.npz
    python scripts/make_small_mnist.py FOLDER --out FILE   write FILE
    python scripts/make_small_mnist.py FOLDER --check      write nothing, compare

FOLDER holds train-images-idx3-ubyte and train-labels-idx1-ubyte, raw or with .gz. The script
needs NumPy alone. It gives the same bytes on every run; only another zlib may pack the same
arrays into other bytes, and then the script says so.
"""

import argparse
import gzip
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "small_mnist.npz"
IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
SHA256 = {
    IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}
SEED = 2018
PER_DIGIT = 1000


def read_original(folder: Path, name: str, sha256: str | None) -> bytes:
    """The unpacked bytes of one original file.

    Args:
        folder: where `name` or `name`.gz lies.
        name: the file's name without .gz.
        sha256: what the unpacked bytes must hash to; None leaves them unchecked.

    Raises:
        SystemExit: the file is missing, is not gzip, or is not the original.
    """
    raw, packed = folder / name, folder / f"{name}.gz"
    try:
        content = raw.read_bytes() if raw.exists() else gzip.decompress(packed.read_bytes())
    except (OSError, EOFError) as error:
        raise SystemExit(f"cannot read {name} (raw or .gz) in {folder}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise SystemExit(
            f"{name} in {folder} is not MNIST's original: its sha256 is {found}, not {sha256}"
        )
    return content


def parse_idx(content: bytes) -> np.ndarray:
    """The uint8 array in an IDX file: two zero bytes, type 8, rank, big-endian sizes, values."""
    if content[:3] != b"\x00\x00\x08":
        raise SystemExit("not an IDX file of unsigned bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def draw(labels: np.ndarray, per_digit: int) -> np.ndarray:
    """Indices of `per_digit` images of each digit, drawn with the fixed seed, ascending (int32).

    An image is kept when its random key is among the smallest of its digit. The keys are the
    generator's raw output, which NumPy promises never to change; it makes no such promise for
    choice() or permutation().
    """
    keys = np.random.PCG64(SEED).random_raw(labels.size)
    kept = []
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        if members.size < per_digit:
            raise SystemExit(f"only {members.size} images of the digit {digit}, not {per_digit}")
        kept.append(members[np.argsort(keys[members])[:per_digit]])
    return np.sort(np.concatenate(kept)).astype(np.int32)


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file of `arrays`, free of the date, the system and the umask."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = 0o644 << 16
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, npy.getvalue())
    return packed.getvalue()


def build(
    folder: Path, *, per_digit: int = PER_DIGIT, sha256: dict[str, str] | None = SHA256
) -> bytes:
    """The bytes of small_mnist.npz, drawn from the original files in `folder`.

    Args:
        folder: holds the two training files, raw or with .gz.
        per_digit: images of each digit.
        sha256: by file name, what the originals must hash to; None accepts any IDX pair.
    """
    expected = sha256 or {}
    images = parse_idx(read_original(folder, IMAGES, expected.get(IMAGES)))
    labels = parse_idx(read_original(folder, LABELS, expected.get(LABELS)))
    index = draw(labels, per_digit)
    return pack({"images": images[index], "labels": labels[index], "index": index})


def arrays_in(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; none where it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return {}


def same_arrays(one: bytes, other: bytes) -> bool:
    """Whether two .npz files hold equal arrays under equal names."""
    first, second = arrays_in(one), arrays_in(other)
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name])
        for name in first
    )


def compare(content: bytes, there: Path) -> int:
    """Say how `content` stands to the file `there`; 0 where the arrays are equal, else 1."""
    other = there.read_bytes()
    if content == other:
        print(f"the same bytes as {there}")
        return 0
    if same_arrays(content, other):
        print(f"the same arrays as {there}, which this machine's zlib packs into other bytes")
        return 0
    print(f"NOT the same arrays as {there}", file=sys.stderr)
    return 1


def write(content: bytes, out: Path) -> None:
    """Write beside `out` under a temporary name, then rename: never half a file at `out`."""
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=out.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where MNIST's training files lie")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the file to write")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with --out")
    arguments = parser.parse_args()

    try:
        return run(build(arguments.folder), arguments.out, arguments.check)
    except OSError as error:
        raise SystemExit(str(error)) from error


def run(content: bytes, out: Path, check: bool) -> int:
    """Compare `content` with the file `out`, or write it there; the exit status."""
    # The package checks its file's sha256: equal arrays in other bytes must not replace it.
    if check or (out.exists() and same_arrays(content, out.read_bytes())):
        return compare(content, out)
    write(content, out)
    print(f"{out}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
