"""The option of every exercise; by itself, for exercise 1 trains nothing and starts quickly."""

from dataclasses import dataclass

from jaxlab.errors import OptionError

# JAX takes seeds of 32 bits.
SEEDS = 2**31


@dataclass(frozen=True)
class SeedConfig:
    """Options of every exercise."""

    seed: int = 0
    """Where every random choice comes from."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEEDS:
            raise OptionError(f"seed is {self.seed}: it must be between 0 and {SEEDS - 1}")
