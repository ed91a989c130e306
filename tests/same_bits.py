"""The same seed gives the same bits: `same_bits.py COUNT`.

Every exercise, quick: once, and then COUNT times in another folder, in turn without compiled
programs in the cache and with them. Compares numbers, figures and the saved network bit by bit.
Prints JSON; exit status 1 where any differs.
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import wholeness

from jaxlab import terminal


def main() -> int:
    count = int(sys.argv[1])
    different: list[str] = []
    compared = 0
    with (
        tempfile.TemporaryDirectory(prefix="same-bits-") as folder,
        terminal.progress("the same bits", 7 * (count + 1)) as advance,
    ):
        place = wholeness.Place(Path(folder))
        for name in (f"ex{n}" for n in range(1, 8)):
            found = []
            for n in range(count + 1):
                if n != 1:  # the second finds the programs of the first, the third none
                    shutil.rmtree(place.caches / "jaxlab", ignore_errors=True)
                status, _, err = place.run(name, "--quick", "--out", f"{name} {n}")
                assert status == 0, err
                found.append(wholeness.bits(place.folder / f"{name} {n}"))
                advance(note=name)
            for again in found[1:]:
                compared += len(found[0])
                different += sorted(k for k in found[0] | again if found[0].get(k) != again.get(k))
            print(name, len(found[0]), different, file=sys.stderr)
    print(json.dumps({"repetitions": count, "compared": compared, "different": different}))
    return 1 if different else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
