"""The cache of compiled programs."""

import contextlib
import hashlib
import os
from pathlib import Path

from jaxlab.errors import OutputError
from jaxlab.writing import user_cache, write_whole


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
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


class VerifiedCache:
    """Compiled programs in a folder, each file its content's sha256 and then the content.

    JAX's own cache runs whatever its files hold: a changed byte can end the process or change
    numbers, and a file that a killed run left half-written is never replaced. Here a file is
    whole or not there at all, and one that is damaged counts as missing: the program is compiled
    and kept again. Has the methods that JAX asks a cache for.
    """

    def __init__(self, folder: Path):
        self._path = folder  # the name by which JAX asks for it

    def get(self, key: str) -> bytes | None:
        try:
            file = self._file(key).read_bytes()
        except OSError:
            return None
        digest, content = file[:32], file[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, value: bytes) -> None:
        # A full disk costs the next run a few seconds, and this one nothing.
        with contextlib.suppress(OutputError):
            write_whole(self._file(key), hashlib.sha256(value).digest() + value)

    def clear(self) -> None:
        for file in self._path.glob("*.verified"):
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
