"""Training images seen a little differently each time: turned, stretched, sheared and moved.

Such changes leave a digit the digit it was, so a network that sees them needs fewer examples
(Simard, Steinkraus and Platt 2003). A whole batch is changed at once inside the compiled step.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from jaxlab.convnet.network import SIDE

BORDER = 2  # pixels of background around an image; what lies further out is background too


def random_changes(
    key: PRNGKeyArray, m: int, *, rotation: float, scale: float, shear: float, shift: float
) -> Float[Array, "2 3 m"]:
    """For each of m images the affine map from its output pixels back to its own.

    A matrix that makes (x, y) of (x, y, 1), in pixels from the centre. Each kind of change is
    uniform in plus or minus its limit: rotation in radians, shear in pixels a pixel, scale as the
    logarithm of each axis's factor, shift in pixels.
    """
    turn, wide, high, slant, right, down = jax.random.uniform(key, (6, m), minval=-1, maxval=1)
    c, s = jnp.cos(rotation * turn), jnp.sin(rotation * turn)
    wide, high, slant = jnp.exp(scale * wide), jnp.exp(scale * high), shear * slant
    rows = [
        [wide * c, wide * (slant * c - s), shift * right],
        [high * s, high * (c + slant * s), shift * down],
    ]
    return jnp.array(rows)


def framed(images: UInt8[np.ndarray, "m 28 28"]) -> UInt8[np.ndarray, "m 32 32"]:
    """The images with a border of background, as `change` takes them."""
    return np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))


def change(
    images: UInt8[Array, "all 32 32"], rows: Int[Array, " m"], changes: Float[Array, "2 3 m"]
) -> Float[Array, "28 28 m"]:
    """Those in the given rows through their affine maps, in [0, 1], the example as the last axis.

    Bilinear between pixels. images: framed. changes: as from `random_changes`.
    """
    m = len(rows)
    centre = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1) - centre
    grid = jnp.array(np.stack([x, y, np.ones_like(x)], axis=1), jnp.float32)
    # As a product of matrices: written out, XLA computes each position anew wherever it is used,
    # one by one, which takes as long as all that is below.
    grids = jnp.broadcast_to(grid, (2, *grid.shape))
    positions = jnp.matmul(grids, changes, precision="highest")  # a GPU's usual has three digits
    from_x, from_y = positions.reshape(2, SIDE, SIDE, m) + (centre + BORDER)
    left, top = jnp.floor(from_x), jnp.floor(from_y)
    dx, dy = from_x - left, from_y - top

    # The 2×2 pixels around each position in one go: reading at random is what takes the time here.
    starts = [jnp.broadcast_to(rows, left.shape), top.astype(jnp.int32), left.astype(jnp.int32)]
    corners = jax.lax.gather(
        images, jnp.stack(starts, axis=-1),
        jax.lax.GatherDimensionNumbers(
            offset_dims=(3, 4), collapsed_slice_dims=(0,), start_index_map=(0, 1, 2)
        ),
        slice_sizes=(1, 2, 2), mode="clip",
    ).astype(jnp.float32)  # fmt: skip
    a, b, c, d = (corners[..., i, j] for i in (0, 1) for j in (0, 1))
    upper, lower = a + (b - a) * dx, c + (d - c) * dx
    return (upper + (lower - upper) * dy) / 255


def unchanged(images: UInt8[Array, "m 28 28"]) -> Float[Array, "28 28 m"]:
    """The images as they are, in [0, 1], the example as the last axis."""
    return jnp.moveaxis(images, 0, 2).astype(jnp.float32) / 255
