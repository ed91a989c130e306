"""The cache of compiled programs."""

import os
from pathlib import Path


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, so that the next run starts at once.

    JAX's own settings count: JAX_COMPILATION_CACHE_DIR names another folder,
    JAX_ENABLE_COMPILATION_CACHE=false turns it off. Without a folder that can be written, there
    is no cache and nothing fails.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(home) / "jaxlab" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps only what took a second to compile; ours are many small programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
