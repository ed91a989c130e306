"""Mutated files in short, by `mutated_files.py`, and each fault that the long form found."""

from collections import Counter
from pathlib import Path

import mutated_files
import pytest

from jaxlab import results
from jaxlab.compilation import VerifiedCache
from jaxlab.errors import OutputError
from jaxlab.report import document

COUNTS = {"checkpoint": 12, "compiled program": 10, "result": 80, "small mnist": 5}


@pytest.mark.parametrize("name", mutated_files.SHARES)
def test_a_mutated_file_is_read_right_or_refused(tmp_path, request, name):
    count = COUNTS.get(name, 60)
    lab = request.getfixturevalue("quick_lab")[0] if name == "result" else tmp_path
    found = Counter(mutated_files.outcomes(name, count, tmp_path, lab))
    assert found.keys() <= {"read", "refused"}
    assert found.total() == count
    # A program whose file is damaged is compiled anew; of all other kinds some are refused.
    assert (found["refused"] > 0) != (name == "compiled program")


BROKEN = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import mutated_files, mutated_kinds
from jaxlab.errors import DataError

class Broken(mutated_kinds.Idx):
    number = None

    def write(self, dice):
        super().write(dice)
        self.number = len(list(self.folder.parent.glob("file-*")))
        (self.folder.parent / f"file-{{self.number}}").touch()

    def read(self):
        if self.number == 0:
            raise AssertionError("a lie")
        if self.number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.number == 2:
            try:
                bytearray(2**31)
            except MemoryError as error:
                raise DataError("refused, but too late") from error
        while self.number == 3:
            pass

mutated_files.SECONDS = 0.5
mutated_kinds.KINDS["idx"] = Broken
mutated_files.main()
"""


def test_what_breaks_the_promise_is_told_and_kept(tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text(BROKEN.format(folder=str(Path(mutated_files.__file__).parent)))
    monkeypatch.setattr(mutated_files, "__file__", str(script))
    lie, crash, memory, slow, sound = mutated_files.outcomes("idx", 5, tmp_path, tmp_path)
    assert lie == "AssertionError: a lie"
    assert crash.startswith("the process ended with status -11")
    assert memory == "took too much memory"
    assert slow == "Slow: took more than 0.5 s"
    assert sound == "read"
    kept = sorted(path.name.split("-")[1] for path in (tmp_path / "failed").iterdir())
    assert kept == ["0", "1", "2", "3"]


# --- what the long form found ---


HARM = {
    "brackets nested deeply": lambda text: "[" * 100_000,
    "half a surrogate pair": lambda text: text.replace('"title": "', '"title": "\\ud800'),
    "another exercise's": lambda text: text.replace('"exercise": "ex1"', '"exercise": "ex2"'),
    "no packages": lambda text: text.replace('"packages"', '"parcels"'),
    "problems that are no list": lambda text: text.replace('"problems": []', '"problems": 7'),
    "seconds beyond any float": lambda text: text.replace(
        '"seconds": ', '"seconds": 1' + "0" * 400 + ', "old": '
    ),
    "endless seconds": lambda text: text.replace('"seconds": ', '"seconds": 1e999, "old": '),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_result_is_refused_in_a_sentence(quick_lab, tmp_path, harm):
    text = (quick_lab[0] / "ex1" / "result.json").read_text(encoding="utf-8")
    changed = HARM[harm](text)
    assert changed != text
    (tmp_path / "ex1").mkdir()
    (tmp_path / "ex1" / "result.json").write_text(changed, encoding="utf-8")
    for read in (results.load, lambda out, name: document.gather(out, [name])):
        with pytest.raises(OutputError, match="run the exercise again"):
            read(tmp_path, "ex1")


def test_a_compiled_program_is_kept_whole_and_a_damaged_one_counts_as_missing(tmp_path):
    cache = VerifiedCache(tmp_path)
    assert cache.get("program") is None
    cache.put("program", b"code" * 1000)
    assert cache.get("program") == b"code" * 1000
    (file,) = tmp_path.iterdir()
    sound = file.read_bytes()
    for damaged in (b"", sound[:10], sound[:-1], sound[:50] + b"\0" + sound[51:]):
        file.write_bytes(damaged)
        assert cache.get("program") is None
        cache.put("program", b"code" * 1000)  # replaced, so that the next run finds it
        assert file.read_bytes() == sound
    file.unlink()
    file.mkdir()  # cannot be written: nothing fails
    cache.put("program", b"code")
    assert cache.get("program") is None
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
