"""MNIST by tensorflow-datasets: its registered addresses and checksums, without TensorFlow.

TFDS's own preparation of MNIST needs TensorFlow; its download manager does not. It runs in a
process of its own (see `tfds_child`), in a new folder of ours, so that neither another program's
copy nor a file left by a broken run is in the way.
"""

import json
import os
import sys
from pathlib import Path

from jaxlab.data.mnist import idx, limited_process
from jaxlab.data.mnist.originals import ORIGINALS, refuse_changed
from jaxlab.errors import DataError

WHAT = "tensorflow-datasets"
# What is fetched instead of the registered addresses: this address, a slash and the file's name.
BASE_ADDRESS: str | None = None
LIMITS = limited_process.Limits(start=20, pause=20, total=300)


def fetch(work: Path, manual_dir: Path | None = None) -> dict[str, bytes]:
    """The four raw files by name, verified.

    Args:
        work: an empty folder to download into.
        manual_dir: TFDS's folder of files downloaded by hand; a .gz that lies there under its
            registered name is not downloaded.

    Raises:
        DataError: why it failed.
    """
    request = {
        "files": {f"{o.name}.gz": (o.packed_sha256, o.packed_size) for o in ORIGINALS},
        "manual": str(manual_dir.resolve()) if manual_dir else None,
        "base": BASE_ADDRESS,
    }
    status, said, complained = limited_process.run(
        [sys.executable, "-P", "-m", "jaxlab.data.mnist.tfds_child", json.dumps(request)],
        work,
        # The same modules as here, also where a script changed its path.
        os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        LIMITS,
    )
    try:
        # Whatever else was printed before, the answer is the last line.
        answer = json.loads(said.splitlines()[-1] if said else "")
    except ValueError:
        last = complained.strip().splitlines()[-1:] or ["it said nothing"]
        raise DataError(f"it ended with status {status}: {last[0][:400]}") from None
    if "failed" in answer:
        raise DataError(answer["failed"])
    contents = {
        o.name: idx.unpack(idx.read_plain(Path(answer["files"][f"{o.name}.gz"])), o.name)
        for o in ORIGINALS
    }
    refuse_changed(contents, WHAT)
    return contents
