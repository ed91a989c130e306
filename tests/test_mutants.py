"""The short form of `mutants.py`: the tool works, and there is enough for it to do."""

import json
import subprocess
import sys
from pathlib import Path

from equivalent_mutants import EQUIVALENT
from mutations import mutants

TOOL = Path(__file__).with_name("mutants.py")


def test_the_hand_written_pass_has_every_kind_of_mutant():
    found = {m.key[1:] for m in mutants("backprop.py")}
    assert len(found) > 200
    pass_ = "z[l + 1] = (W @ a[l].T).T + b[None, :]"
    assert {change for line, change in found if line == pass_} >= {
        ".T dropped", "operands of @ swapped", "sign turned", "+ → -", "+ → - (2)", "1 → 0",
        "[l] → [l + 1]",
    }  # fmt: skip
    one = next(m for m in mutants("backprop.py") if m.key[1:] == (pass_, ".T dropped"))
    assert "        z[l + 1] = (W @ a[l].T) + b[None, :]\n" in one.source


def test_every_equivalent_mutant_is_one_of_the_source():
    found = {m.key for file in {file for file, *_ in EQUIVALENT} for m in mutants(file)}
    assert EQUIVALENT.keys() - found == set()


def test_a_few_mutants_are_killed():
    done = subprocess.run(
        [sys.executable, TOOL, "6", "backprop.py"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout)
    assert counted["mutants"] == counted["killed"] + counted["equivalent"] == 6
