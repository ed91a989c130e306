"""The four original files of MNIST, and how their bytes are told from any others."""

import hashlib
from typing import NamedTuple

from jaxlab.errors import DataError


class Original(NamedTuple):
    """One of the four files.

    Attributes:
        name: of the raw file; packed, it has `.gz` behind it.
        sha256: of the raw bytes.
        packed_sha256: of the .gz that tensorflow-datasets registers.
        packed_size: of that .gz, in bytes.
    """

    name: str
    sha256: str
    packed_sha256: str
    packed_size: int


TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"

ORIGINALS = (
    Original(
        TRAIN_IMAGES,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    Original(
        TRAIN_LABELS,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    Original(
        TEST_IMAGES,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    Original(
        TEST_LABELS,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
)


def sha256(content: bytes) -> str:
    """The sha256 of `content`, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def refuse_changed(contents: dict[str, bytes], where: str) -> None:
    """Refuse raw files, by name, of which any is not MNIST's to the bit.

    Args:
        contents: the raw bytes of all four files.
        where: names their source, as in "the npm package".

    Raises:
        DataError: which file differs, and how.
    """
    for original in ORIGINALS:
        found = sha256(contents[original.name])
        if found != original.sha256:
            raise DataError(
                f"{original.name} from {where} is not MNIST's: its sha256 begins with "
                f"{found[:12]}, not {original.sha256[:12]}"
            )
