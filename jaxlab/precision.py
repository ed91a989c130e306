"""float64 for a part of a program, `with enable_x64(True): …`, wherever jax keeps it."""

import jax
import jax.experimental

# jax 0.7 has it among its experiments alone.
enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64  # type: ignore[attr-defined]
