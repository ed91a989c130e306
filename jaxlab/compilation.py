"""The cache of compiled programs."""

import contextlib
import os
import time
from pathlib import Path

from jaxlab.writing import TEMPORARY

# No program takes nearly as long to write: what is older was left by a run that was killed.
STALE_SECONDS = 3600


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, so that the next run starts at once.

    JAX's own settings count: JAX_COMPILATION_CACHE_DIR names another folder,
    JAX_ENABLE_COMPILATION_CACHE=false turns it off. Without a folder that can be written, there
    is no cache and nothing fails.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if not os.path.isabs(home):  # there is no home folder
            return
        folder = Path(home) / "jaxlab" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        _write_programs_whole()
        _remove_stale(folder)
    # By default JAX keeps only what took a second to compile; ours are many small programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _write_programs_whole() -> None:
    """From now on a program appears in the cache whole.

    JAX writes it under its final name. Killed in the middle, or on a full disk, it leaves a piece
    there that it complains about in every later run and never replaces; and another process may
    read the piece while it grows. Where JAX has changed, that is how it is.
    """
    try:
        from jax._src.lru_cache import _CACHE_SUFFIX, LRUCache
    except ImportError:
        return
    put = LRUCache.put
    if put.__module__ == __name__:
        return

    def put_whole(self: LRUCache, key: str, value: bytes) -> None:
        if self.eviction_enabled:  # then JAX locks the folder
            put(self, key, value)
            return
        written = f"{TEMPORARY}{os.getpid()}-{key}"
        path = Path(self.path, f"{written}{_CACHE_SUFFIX}")
        # Without room it is compiled again the next time: nothing that the user must hear.
        with contextlib.suppress(OSError):
            try:
                put(self, written, value)
                path.replace(path.with_name(f"{key}{_CACHE_SUFFIX}"))
            finally:
                path.unlink(missing_ok=True)

    LRUCache.put = put_whole  # type: ignore[method-assign]


def _remove_stale(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}*"):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
