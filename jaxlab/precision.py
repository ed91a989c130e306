"""With how many digits a part of a program computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.experimental

# `with enable_x64(True): …` is float64. jax 0.7 has it among its experiments alone.
enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64  # type: ignore[attr-defined]


@contextmanager
def every_digit(x64: bool) -> Iterator[None]:
    """float64 or float32, and of float32 all digits: by default a GPU's products keep three of the
    seven (TF32), enough for training, too few for a check.

    Without an error at the first nan or infinity, as `jax_debug_nans` asks for: a step of
    differences may leave what J is defined for.
    """
    # A CPU keeps all by itself; there the setting would only make every function compile anew.
    full = None if jax.default_backend() == "cpu" else "highest"
    with (
        enable_x64(x64), jax.default_matmul_precision(full), jax.debug_nans(False),
        jax.debug_infs(False),
    ):  # fmt: skip
        yield
