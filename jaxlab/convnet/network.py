"""The network of exercise 7, in Flax: convolutions, batch normalisation, one dense layer.

    image 28×28, at half resolution          image 28×28, at full resolution
    5×5 convolution in steps of two → 14     3×3 convolution → 26
    3×3 convolution, pooled → 6              3×3 convolution, pooled → 12
                                             3×3 convolution, padded → 12
                                             3×3 convolution, padded, pooled → 6
    3×3 convolution → 4                      3×3 convolution → 4
    more of them, padded → 4                 more of them, padded → 4
    dense layer → 10 logits                  dense layer → 10 logits

Pooling takes the largest of each 2×2 pixels; padding adds a border of one pixel. Each convolution
is followed by batch normalisation (Ioffe and Szegedy 2015) and ReLU, and so needs no bias. Images
are (channels, height, width, m), as `convolution.py` says.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlab.convnet.convolution import BORDER_AND_STEP, Images, convolve, convolve_first

SIDE = 28
# Of the 3×3 convolutions after the first convolution, whether each is (pooled, padded); those that
# follow are padded. The side that comes out of the first, and the taps along it.
BLOCKS = {
    "half": ((True, False), (False, False)),
    "full": ((True, False), (False, True), (True, True), (False, False)),
}
FIRST = {"half": (14, 5), "full": (26, 3)}
CLASSES = 10
# Of random numbers, for the largest kernel of any preset.
LONGEST_DRAW = 9 * 128 * 128


def normalise(layer: nnx.BatchNorm, x: Images) -> Images:
    """What the layer makes of x, as one scale and one shift of each channel; and its statistics.

    Flax's own call subtracts the mean from all of x, keeps the difference for the backward pass,
    and sums one more array there: on a CPU a step then takes 1.04 to 1.08 times as long.
    """
    assert layer.scale is not None
    assert layer.bias is not None
    mean, variance = layer.mean[...], layer.var[...]
    if not layer.use_running_average:
        moments = jnp.stack([x.mean((1, 2, 3)), jnp.square(x).mean((1, 2, 3))])
        if layer.axis_name is not None:
            moments = jax.lax.pmean(moments, layer.axis_name)
        mean, variance = moments[0], jnp.maximum(moments[1] - moments[0] ** 2, 0.0)
        for running, value in ((layer.mean, mean), (layer.var, variance)):
            kept = layer.momentum * running[...] + (1 - layer.momentum) * value
            running[...] = jax.lax.stop_gradient(kept)
    scale = layer.scale[...] * jax.lax.rsqrt(variance + layer.epsilon)
    shift = layer.bias[...] - mean * scale
    return x * scale[:, None, None, None] + shift[:, None, None, None]


class First(nnx.Module):
    """5×5 convolution in steps of two, or 3×3 convolution."""

    def __init__(self, channels: int, taps: int, *, rngs: nnx.Rngs, **batch_norm: Any):
        self.kernel = nnx.Param(_he(rngs.params(), (taps**2, channels), fan_in=taps**2))
        self.normalise = nnx.BatchNorm(channels, axis=0, rngs=rngs, **batch_norm)

    def __call__(self, x: Float[Array, "28 28 m"]) -> Float[Array, "out _ _ m"]:
        return nnx.relu(normalise(self.normalise, convolve_first(x, self.kernel[...])))


class Block(nnx.Module):
    """3×3 convolution, perhaps with the largest of each 2×2 outputs.

    padded: keep the height and width by a border of zeros; else they shrink by two.
    """

    def __init__(
        self, n_in: int, n_out: int, *, pool: bool = False, padded: bool = False, rngs: nnx.Rngs,
        **batch_norm: Any,
    ):  # fmt: skip
        self.kernel = nnx.Param(_he(rngs.params(), (9, n_out, n_in), fan_in=9 * n_in))
        self.normalise = nnx.BatchNorm(n_out, axis=0, rngs=rngs, **batch_norm)
        self.pool, self.padded = pool, padded

    def __call__(self, x: Images) -> Float[Array, "out _ _ m"]:
        if self.padded:
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return nnx.relu(normalise(self.normalise, convolve(x, self.kernel[...], pool=self.pool)))


class Network(nnx.Module):
    """channels: of each convolution in turn, three or more; at full resolution five or more.

    batch_norm: options of `nnx.BatchNorm`.
    """

    def __init__(
        self, channels: Sequence[int], *, resolution: str = "half", seed: int, **batch_norm: Any
    ):
        rngs = nnx.Rngs(seed)
        taps = FIRST[resolution][1]
        self.first = First(channels[0], taps, rngs=rngs, **batch_norm)
        self.blocks = nnx.List(
            Block(n_in, n_out, pool=pool, padded=padded, rngs=rngs, **batch_norm)
            for n_in, n_out, pool, padded in blocks(channels, resolution)
        )
        features = 16 * channels[-1]
        limit = (1 / features) ** 0.5
        self.W = nnx.Param(limit * _normal(rngs.params(), (CLASSES, features)))
        self.b = nnx.Param(jnp.zeros(CLASSES))

    def __call__(self, x: Float[Array, "28 28 m"]) -> Float[Array, "10 m"]:
        """The logits of m images, one a column. x: pixels of mean 0 and standard deviation 1."""
        a = self.first(x)
        for block in self.blocks:
            a = block(a)
        return self.W[...] @ a.reshape(-1, a.shape[-1]) + self.b[...][:, None]


def layers(channels: Sequence[int], resolution: str = "half") -> list[dict[str, Any]]:
    """Of each layer of such a network: kernel, stride, padding, pooled, units out, parameters.

    Taken from the network itself; the sizes of its outputs come from tracing it. out: the shape of
    what a layer makes of one image, (channels, height, width) or (classes,). parameters: with the
    scales and shifts of batch normalisation.
    """
    network = Network(channels, resolution=resolution, seed=0)
    network.eval()
    shape: tuple[int, ...] = (SIDE, SIDE, 1)
    rows = []
    convolutions: list[Any] = [network.first, *network.blocks]
    for module in convolutions:
        first = isinstance(module, First)
        out = jax.eval_shape(module, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
        taps = math.isqrt(module.kernel.shape[0])
        padding, stride = BORDER_AND_STEP[taps] if first else (int(module.padded), 1)
        rows.append(
            {
                "kernel": taps,
                "stride": stride,
                "padding": padding,
                "pooled": not first and module.pool,
                "out": list(out[:-1]),
                "parameters": _count(nnx.state(module, nnx.Param)),
            }
        )
        shape = out
    rows.append(
        {
            "kernel": None, "stride": None, "padding": None, "pooled": False, "out": [CLASSES],
            "parameters": network.W.size + network.b.size,
        }
    )  # fmt: skip
    return rows


def _count(state: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(state))


def multiplications(channels: Sequence[int], resolution: str = "half") -> int:
    """Of one image's forward pass, counted the ordinary way: pixels × taps × in × out."""
    side, taps = FIRST[resolution]
    total = side**2 * taps**2 * channels[0]
    for n_in, n_out, pool, padded in blocks(channels, resolution):
        side -= 0 if padded else 2
        total += side**2 * 9 * n_in * n_out
        side //= 2 if pool else 1
    return total + side**2 * channels[-1] * CLASSES


def blocks(channels: Sequence[int], resolution: str) -> list[tuple[int, int, bool, bool]]:
    """(channels in, channels out, pooled, padded) of each 3×3 convolution after the first."""
    kinds = [*BLOCKS[resolution], *[(False, True)] * len(channels)]
    return [(*pair, *kind) for pair, kind in zip(pairwise(channels), kinds, strict=False)]


def _he(key: Array, shape: tuple[int, ...], fan_in: int) -> Array:
    """Normal with variance 2 / fan_in (He et al. 2015)."""
    return (2 / fan_in) ** 0.5 * _normal(key, shape)


def _normal(key: Array, shape: tuple[int, ...]) -> Array:
    """`jax.random.normal`, compiled once for all shapes; the numbers are the same.

    The first numbers of a longer draw are those of a shorter one.
    """
    size = math.prod(shape)
    return jax.random.normal(key, (max(size, LONGEST_DRAW),))[:size].reshape(shape)
