"""The hand-written gradient cannot rot: `mutants.py COUNT [FILE …]` breaks the source on purpose.

Every mutant (`mutations.py`) of the pass, the losses and the checker must fail the fast tests, or
stand in `equivalent_mutants.py` with the reason why no test can or should see it. COUNT: so many,
drawn with a fixed seed; `all` or 0: all of them. FILE: of these files alone. Prints JSON; exit
status 1 where a mutant survives, or where an entry of the table fits no mutant any more.

A process that has imported what the tests need, but not jaxlab, forks for every mutant. The fork
reads the mutated source in place of the file, which is never written, and runs pytest. Programs
that the mutant leaves alone come from a cache of compiled programs: most mutants take a second.

mutmut (3.8) does not change what this is about: it leaves out module constants, decorated
functions (`jax.jit`) and dataclasses, and calls functions through a switch that JAX would trace.
cosmic-ray writes into the source and starts a process for each mutant, 3 s to import JAX alone.
"""

import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from equivalent_mutants import EQUIVALENT
from mutations import PACKAGE, Mutant, mutants
from rich.console import Console
from rich.progress import Progress

TESTS = Path(__file__).parent
GRADCHECK = ["test_gradcheck.py", "test_check_any.py", "test_mistakes.py"]
# The tests of each file, first those that see most of its mutants and are quick.
FILES = {
    "backprop.py": ["test_backprop.py", "test_gradcheck.py"],
    "losses.py": ["test_backprop.py", "test_gradcheck.py"],
    "gradcheck/numerical.py": ["test_numerical.py", *GRADCHECK],
    "gradcheck/witnesses.py": ["test_kinks.py", "test_witnesses.py", *GRADCHECK],
    "gradcheck/verdict.py": ["test_verdict.py", "test_judge.py", "test_lab_network.py", *GRADCHECK],
    "gradcheck/result.py": ["test_result.py", "test_verdict.py", *GRADCHECK],
}
# hypothesis looks for the smallest example of a failure, and compiles for each: last of all.
LAST = ("any_network_of_up_to_four_layers", "never_rejected", "let_through")
# Long enough for a process that is halted for minutes.
SECONDS = 900
IMPORTED = ["beartype", "hypothesis", "jax", "jax.numpy", "jaxtyping", "optax", "rich", "scipy",
            "matplotlib.pyplot", "numpy"]  # fmt: skip


def main() -> int:
    count, *only = sys.argv[1:]
    everything = [m for file in FILES if not only or file in only for m in mutants(file)]
    keys = {m.key for m in everything}
    unknown = [key for key in EQUIVALENT if key not in keys and (not only or key[0] in only)]
    chosen = everything
    if count not in ("0", "all"):
        chosen = random.Random(0).sample(everything, min(int(count), len(everything)))
    for name in IMPORTED:
        importlib.import_module(name)
    found: dict[str, list[Mutant]] = {"killed": [], "timeout": [], "equivalent": [], "survived": []}
    console = Console(stderr=True, emoji=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        # Drawn by hand: a thread that draws it would not survive the forks.
        with Progress(console=console, auto_refresh=False) as progress:
            task = progress.add_task("mutants", total=len(chosen))
            for mutant in chosen:
                found[fate_of(mutant, folder, console)].append(mutant)
                progress.update(task, advance=1, refresh=True)
    counts = {fate: len(those) for fate, those in found.items()}
    by_file = {
        file: {fate: sum(m.file == file for m in those) for fate, those in found.items()}
        for file in FILES
        if any(m.file == file for m in chosen)
    }
    survivors = [list(m.key) for m in found["survived"]]
    print(json.dumps({"mutants": len(chosen), **counts, "files": by_file, "survivors": survivors,
                      "not in the source": [list(key) for key in unknown]},
                     ensure_ascii=False, indent=1))  # fmt: skip
    return 1 if survivors or unknown else 0


def prepare(folder: str) -> None:
    """Settings that every fork inherits."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis"}
    sys.path.insert(0, str(PACKAGE.parent))
    sys.dont_write_bytecode = True
    import jax

    jax.config.update("jax_compilation_cache_dir", f"{folder}/programs")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def fate_of(mutant: Mutant, folder: str, console: Console) -> str:
    if mutant.key in EQUIVALENT:
        return "equivalent"
    files = FILES[mutant.file]
    for stage in range(len(files) + 1):
        must_pass(tuple(files), stage, folder)
        if answer := in_fork(mutant, files, stage, folder):
            return answer
        past = files[stage] if stage < len(files) else "every test"
        console.print(f"passes {past}: {mutant}", markup=False, highlight=False)
    return "survived"


@cache
def must_pass(files: tuple[str, ...], stage: int, folder: str) -> None:
    """A test that fails without a mutant kills nothing. Fills the cache of programs besides."""
    if in_fork(None, list(files), stage, folder):
        output = Path(folder, "output").read_text()
        raise SystemExit(f"{output}\nstage {stage} of {files} fails without a mutant")


def in_fork(mutant: Mutant | None, files: list[str], stage: int, folder: str) -> str:
    """'killed' or 'timeout' where a test fails, '' where all pass. The last stage is of the slow
    tests of all files, those before are of one file each."""
    child = os.fork()
    if not child:
        status = 70
        try:
            with open(f"{folder}/output", "w") as output:
                for stream in (1, 2):
                    os.dup2(output.fileno(), stream)
            was_read = in_place_of(mutant) if mutant is not None else [True]
            status = run_tests(files, stage)
            if not was_read:
                print("the tests passed by the mutant's file")
                status = 71
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    give_up = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(status)
    # 0: passed; 1: failed; 2: a test file could not be imported; below 0: crashed.
    if code > 2:
        raise SystemExit(
            f"{mutant}: pytest ended with {code}\n{Path(folder, 'output').read_text()}"
        )
    return "killed" if code else ""


def run_tests(files: list[str], stage: int) -> int:
    slow = " or ".join(LAST)
    chosen = files if stage == len(files) else [files[stage]]
    return pytest.main([
        "-x", "-q", "-p", "no:cacheprovider", "--durations=0", "--rootdir", str(TESTS.parent),
        "-W", "ignore::pytest.PytestAssertRewriteWarning",  # of plugins that are imported already
        "-k", slow if stage == len(files) else f"not ({slow})",
        *(str(TESTS / file) for file in chosen),
    ])  # fmt: skip


def in_place_of(mutant: Mutant) -> list[str]:
    """From here on the file's text is the mutant's; who imports it is put into the list."""
    file, read, was_read = PACKAGE / mutant.file, SourceFileLoader.get_data, []

    def get_data(self, path):
        if path == str(file):
            was_read.append(path)
            return mutant.source.encode()
        if Path(path).suffix == ".pyc" and Path(path).name.startswith(f"{file.stem}."):
            raise OSError("compiled from the file as it is")
        return read(self, path)

    SourceFileLoader.get_data = get_data
    return was_read


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    raise SystemExit(main())
