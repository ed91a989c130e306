"""Training images seen a little differently each time: turned, stretched, sheared and moved.

Such changes leave a digit the digit it was, so a network that sees them needs fewer examples
(Simard, Steinkraus and Platt 2003). A whole batch is changed at once inside the compiled step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

SIDE = 28
BORDER = 3  # pixels of background around an image; what lies further out is background too
FRAMED = SIDE + 2 * BORDER


def random_changes(
    key: PRNGKeyArray, m: int, *, rotation: float, scale: float, shear: float, shift: float
) -> Float[Array, "6 m"]:
    """For each of m images the affine map from its output pixels back to its own.

    Rows: the 2×2 matrix row by row (x from x, x from y, y from x, y from y) and the move along x
    and y in pixels. Each kind of change is uniform in plus or minus its limit: rotation in radians,
    shear in pixels a pixel, scale as the logarithm of each axis's factor, shift in pixels.
    """
    turn, wide, high, slant, right, down = jax.random.uniform(key, (6, m), minval=-1, maxval=1)
    c, s = jnp.cos(rotation * turn), jnp.sin(rotation * turn)
    wide, high, slant = jnp.exp(scale * wide), jnp.exp(scale * high), shear * slant
    return jnp.stack(
        [wide * c, wide * (slant * c - s), high * s, high * (c + slant * s),
         shift * right, shift * down]
    )  # fmt: skip


def change(
    images: UInt8[Array, "m 28 28"], changes: Float[Array, "6 m"]
) -> Float[Array, "28 28 m"]:
    """The images through their affine maps, in [0, 1], the example as the last axis.

    Bilinear between pixels. changes: as from `random_changes`.
    """
    m = len(images)
    centre = (SIDE - 1) / 2
    grid = jnp.arange(SIDE, dtype=jnp.float32) - centre
    x, y = grid[None, :, None], grid[:, None, None]
    xx, xy, yx, yy, right, down = (row[None, None, :] for row in changes)
    from_x = _into_frame(xx * x + xy * y + right + centre)
    from_y = _into_frame(yx * x + yy * y + down + centre)
    left, top = jnp.floor(from_x), jnp.floor(from_y)
    dx, dy = from_x - left, from_y - top
    column, row = left.astype(jnp.int32), top.astype(jnp.int32)

    # The 2×2 pixels around a point travel as the four bytes of one number: reading at random is
    # what takes the time here, and so it is done once instead of four times.
    framed = jnp.pad(images, ((0, 0), (BORDER, BORDER + 1), (BORDER, BORDER + 1)))
    framed = framed.astype(jnp.uint32)
    here, right_of, below = framed[:, :-1, :-1], framed[:, :-1, 1:], framed[:, 1:, :-1]
    four = here | (right_of << 8) | (below << 16) | (framed[:, 1:, 1:] << 24)
    start = jnp.arange(m, dtype=jnp.int32)[None, None, :] * FRAMED**2
    found = four.reshape(-1).at[start + row * FRAMED + column].get(mode="promise_in_bounds")
    a, b, c, d = (((found >> (8 * i)) & 255).astype(jnp.float32) for i in range(4))
    upper, lower = a + (b - a) * dx, c + (d - c) * dx
    return (upper + (lower - upper) * dy) / 255


def unchanged(images: UInt8[Array, "m 28 28"]) -> Float[Array, "28 28 m"]:
    """The images as they are, in [0, 1], the example as the last axis."""
    return jnp.moveaxis(images, 0, 2).astype(jnp.float32) / 255


def _into_frame(position: Float[Array, "28 28 m"]) -> Float[Array, "28 28 m"]:
    """A coordinate of an image as one of the framed image, kept a little short of its edge."""
    return jnp.clip(position + BORDER, 0, FRAMED - 1.01)
