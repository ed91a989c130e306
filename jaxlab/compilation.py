"""The cache of compiled programs."""

import contextlib
import hashlib
import os
from pathlib import Path

from jaxlab.writing import user_cache, write_whole

KEPT_FROM = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
# In the folder before what was used longest ago is removed; a run of everything leaves 50 MB.
MOST_BYTES = 1 << 30


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, so that the next run starts at once.

    JAX's own settings count: JAX_COMPILATION_CACHE_DIR names another folder, which JAX keeps in
    its own way; JAX_ENABLE_COMPILATION_CACHE=false turns it off. Without a folder that can be
    written, there is no cache and nothing fails.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        if (home := user_cache()) is None:
            return
        folder = home / "jaxlab" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        _verify_entries(folder)
    # By default JAX keeps only what took a second to compile; ours are many small programs.
    for name, value in KEPT_FROM.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)


class VerifiedCache:
    """Compiled programs in a folder, each file its content's sha256 and then the content.

    JAX's own cache runs whatever its files hold: a changed byte can end the process or change
    numbers, and a file that a killed run left half-written is never replaced. Here a file is
    whole or not there at all, and one that is damaged counts as missing: the program is compiled
    and kept again. What was used longest ago goes, where there is too much: programs of another
    version of JAX are never asked for again. Has the methods that JAX asks a cache for.
    """

    def __init__(self, folder: Path):
        self._path = folder  # the name by which JAX asks for it
        self._looked = False

    def get(self, key: str) -> bytes | None:
        try:
            file = self._file(key).read_bytes()
            os.utime(self._file(key))
        except OSError:
            return None
        digest, content = file[:32], file[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, value: bytes) -> None:
        # A full disk costs the next run a few seconds, and this one nothing.
        with contextlib.suppress(OSError):
            if not self._looked:
                self._looked = True
                self._make_room()
            write_whole(self._file(key), hashlib.sha256(value).digest() + value)

    def _make_room(self) -> None:
        """Once in a process: listing thousands of files takes longer than writing one."""
        files = [(file.stat(), file) for file in self._path.glob("*.verified")]
        total = 0
        for about, file in sorted(files, key=lambda one: one[0].st_mtime, reverse=True):
            total += about.st_size
            if total > MOST_BYTES:
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self._path / f"{key}.verified"


def _verify_entries(folder: Path) -> None:
    """Puts a `VerifiedCache` in the place of JAX's own, for this folder."""
    from jax._src import compilation_cache

    # No public name leads there. A JAX in which it has moved keeps its own cache.
    jaxs_own = getattr(compilation_cache, "get_file_cache", None)
    if jaxs_own is not None:

        def cache_in(path: str):
            return (VerifiedCache(folder), path) if path == str(folder) else jaxs_own(path)

        compilation_cache.get_file_cache = cache_in
