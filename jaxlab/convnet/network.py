"""The network of exercise 7, in Flax: convolutions, batch normalisation, one dense layer.

    image 28×28 → 5×5 convolution in steps of two → 14×14
                → 3×3 convolution → 12×12 → largest of each 2×2 → 6×6
                → 3×3 convolution → 4×4
                → more 3×3 convolutions, padded by one pixel → 4×4
                → dense layer → 10 logits

Each convolution is followed by batch normalisation (Ioffe and Szegedy 2015) and ReLU, and so
needs no bias. Images are (channels, height, width, m), as `convolution.py` says.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlab.convnet.convolution import Images, convolve, convolve_first, max_pool, untile

SIDE = 28
CLASSES = 10
MOMENTUM = 0.98  # of the running statistics: a memory of 50 steps


class First(nnx.Module):
    """5×5 convolution in steps of two."""

    def __init__(self, channels: int, *, axis_name: str | None, rngs: nnx.Rngs):
        self.kernel = nnx.Param(_he(rngs.params(), (25, channels), fan_in=25))
        self.normalise = _batch_norm(channels, axis_name, rngs)

    def __call__(self, x: Float[Array, "28 28 m"]) -> Float[Array, "out 14 14 m"]:
        return nnx.relu(self.normalise(convolve_first(x, self.kernel[...])))


class Block(nnx.Module):
    """3×3 convolution, perhaps with the largest of each 2×2 outputs.

    padded: keep the height and width by a border of zeros; else they shrink by two.
    """

    def __init__(
        self, n_in: int, n_out: int, *, pool: bool = False, padded: bool = False,
        axis_name: str | None, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.kernel = nnx.Param(_he(rngs.params(), (9, n_out, n_in), fan_in=9 * n_in))
        self.normalise = _batch_norm(n_out, axis_name, rngs)
        self.pool, self.padded = pool, padded

    def __call__(self, x: Images) -> Float[Array, "out _ _ m"]:
        if self.padded:
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        tiles = convolve(x, self.kernel[...])
        return nnx.relu(self.normalise(max_pool(tiles) if self.pool else untile(tiles)))


class Network(nnx.Module):
    """channels: of each convolution in turn, three or more."""

    def __init__(self, channels: Sequence[int], *, seed: int, axis_name: str | None = None):
        rngs = nnx.Rngs(seed)
        first, second, *rest = channels
        self.first = First(first, axis_name=axis_name, rngs=rngs)
        blocks = [Block(first, second, pool=True, axis_name=axis_name, rngs=rngs)]
        for i, (n_in, n_out) in enumerate(zip([second, *rest], rest, strict=False)):
            blocks.append(Block(n_in, n_out, padded=i > 0, axis_name=axis_name, rngs=rngs))
        self.blocks = nnx.List(blocks)
        features = 16 * channels[-1]
        limit = (1 / features) ** 0.5
        self.W = nnx.Param(limit * jax.random.normal(rngs.params(), (CLASSES, features)))
        self.b = nnx.Param(jnp.zeros(CLASSES))

    def __call__(self, x: Float[Array, "28 28 m"]) -> Float[Array, "10 m"]:
        """The logits of m images, one a column. x: pixels of mean 0 and standard deviation 1."""
        a = self.first(x)
        for block in self.blocks:
            a = block(a)
        return self.W[...] @ a.reshape(-1, a.shape[-1]) + self.b[...][:, None]


def multiplications(channels: Sequence[int]) -> int:
    """Of one image's forward pass, counted the ordinary way: pixels × taps × in × out."""
    first, second, *rest = channels
    total = 14 * 14 * 25 * first + 12 * 12 * 9 * first * second
    for n_in, n_out in zip([second, *rest], rest, strict=False):
        total += 4 * 4 * 9 * n_in * n_out
    return total + 16 * channels[-1] * CLASSES


def _he(key: Array, shape: tuple[int, ...], fan_in: int) -> Array:
    """Normal with variance 2 / fan_in (He et al. 2015)."""
    return (2 / fan_in) ** 0.5 * jax.random.normal(key, shape)


def _batch_norm(channels: int, axis_name: str | None, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(channels, axis=0, momentum=MOMENTUM, axis_name=axis_name, rngs=rngs)
