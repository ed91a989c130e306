"""Strict settings for all tests: nothing is promoted or broadcast silently."""

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
