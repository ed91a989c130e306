"""Whole commands run as people run them, and what they leave: is it whole, and the same bits?"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_mnist
from PIL import Image
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
# `jaxlab …` that takes the miniature at the first argument for MNIST.
PROGRAM = (
    "import sys, tiny_mnist; tiny_mnist.install(setattr, sys.argv[1]);"
    "from jaxlab.cli import main; sys.exit(main(sys.argv[2:]))"
)
TEMPORARY = (".writing-*", ".whole", ".unfinished-*", "*tmp*")
# What clocks say, and sentences with what they say.
TIMES = {"train_seconds", "compile_seconds", "discussion"}


class Place:
    """A folder with a home, a cache and temporary files of its own, to run commands in."""

    def __init__(self, folder: Path, base: str = "http://127.0.0.1:1") -> None:
        self.folder, self.base = folder, base
        self.home, self.caches, self.temporary = (folder / n for n in ("home", "caches", "tmp"))
        for path in (self.home, self.caches, self.temporary):
            path.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        *arguments: object,
        environment: dict[str, str] | None = None,
        before: tuple[str, ...] = (),
        stdout=subprocess.PIPE,
    ) -> subprocess.Popen:
        """`jaxlab …` in the folder, in a process group of its own; returns at once.

        before: a program and its options that starts it.
        """
        return subprocess.Popen(
            [*before, sys.executable, "-c", PROGRAM, self.base, *map(str, arguments)],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.temporary),
                 "XDG_CACHE_HOME": str(self.caches), "MPLCONFIGDIR": str(self.home / "matplotlib"),
                 "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **(environment or {})},
        )  # fmt: skip

    def run(self, *arguments: object, environment: dict[str, str] | None = None):
        """(exit status, output, error output) of `jaxlab …`."""
        process = self.start(*arguments, environment=environment)
        out, err = process.communicate(timeout=3000)
        return process.returncode, out, err

    @property
    def mnist(self) -> Path:
        return self.caches / "jaxlab" / "mnist"


@contextmanager
def serving(seconds: float = 0.0) -> Iterator[str]:
    """A web server that has the miniature; yields its address. seconds: how long a file takes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            content = tiny_mnist.PACKED[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            step = len(content) // 10 + 1
            for start in range(0, len(content), step):
                time.sleep(seconds / 10)
                self.wfile.write(content[start : start + step])

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass  # whoever was killed has hung up

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def faults(out: Path, mnist: Path | None = None) -> list[str]:
    """What is half-written under its final name; empty is good."""
    found = []
    for path in out.rglob("result.json"):
        if any(part.startswith(".") for part in path.relative_to(out).parts):
            continue
        try:
            record = json.loads(path.read_text())
            for svg, png in record["figures"].values():
                ElementTree.parse(path.with_name(svg))
                with Image.open(path.with_name(png)) as image:
                    image.load()
        except Exception as error:  # whatever a reader of the file raises
            found.append(f"{path}: {type(error).__name__}: {error}")
    for path in out.glob("*.pdf"):
        try:
            assert [page.extract_text() for page in PdfReader(path, strict=True).pages]
        except Exception as error:  # likewise
            found.append(f"{path}: {type(error).__name__}: {error}")
    for name, content in tiny_mnist.RAW.items():
        if mnist and (mnist / name).exists() and (mnist / name).read_bytes() != content:
            found.append(f"{mnist / name}: other bytes")
    return found


def bits(out: Path) -> dict[str, str]:
    """A digest of every exercise's numbers, of each of its figures, and of saved networks."""
    found = {}
    for path in sorted(out.glob("ex*/result.json")):
        record = json.loads(path.read_text())
        numbers = {key: value for key, value in record["numbers"].items() if key not in TIMES}
        found[f"{path.parent.name} numbers"] = _digest(json.dumps(numbers).encode())
        for figure in path.parent.glob("*.[sp][vn]g"):
            found[f"{path.parent.name} {figure.name}"] = _digest(figure.read_bytes())
    for network in out.glob("ex7/checkpoints/seed-*"):
        found[f"ex7 {network.name}"] = _digest(saved_network(network))
    return found


def saved_network(folder: Path) -> bytes:
    """The bytes of the last checkpoint's arrays, in order."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    newest = max(folder.glob("[0-9]*"), key=lambda path: int(path.name))
    reader = ocp.PyTreeCheckpointer()
    saved = reader.metadata(newest / "state").item_metadata.tree
    # As NumPy's: the devices that it was trained on need not be here.
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
    state = reader.restore(newest / "state", restore_args=as_numpy)
    return b"".join(leaf.tobytes() for leaf in jax.tree.leaves(state))


def litter(*folders: Path) -> list[str]:
    """Temporary files that nobody removed."""
    return [
        str(path)
        for folder in folders
        for name in TEMPORARY
        for path in folder.rglob(name)
    ]  # fmt: skip


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
