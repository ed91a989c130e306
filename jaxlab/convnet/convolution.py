"""Convolution and pooling, forward and backward by hand, in the form that is fast on a CPU.

`convolve` is what the network uses; on other devices it hands the work to XLA's own convolution.
Images are arrays (channels, height, width, m): the example is the last axis, so that every
operation below reads and writes long runs of neighbouring numbers.

A 3×3 convolution costs 9 multiplications a pixel, channel in and channel out. Winograd's
minimal filtering F(4×4, 3×3) needs 36 for a tile of 16 pixels, a quarter of that (Lavin and Gray
2016, section 4.3). For a tile Y of 4×4 outputs, the 6×6 inputs x under it and a 3×3 kernel g,

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ x B)] A

where ⊙, summed over the channels in, is one matrix product for each of the 36 elements. All of
it is linear, so the backward pass is the same three transforms turned round. XLA's own
convolution of this size reaches about a third of the speed on a CPU, its gradient inside a loop
a tenth.
"""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 4  # pixels of a tile of outputs along each axis
TAPS = TILE + 2  # pixels of the inputs under it

# Lavin and Gray (2016), section 4.3: the interpolation points 0, 1, -1, 2, -2 and infinity.
BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

Images = Float[Array, "in height width m"]
Tiles = Float[Array, "4 4 out rows columns m"]
Kernel = Float[Array, "9 out in"]


def convolve(x: Images, g: Kernel, *, pool: bool = False) -> Float[Array, "out _ _ m"]:
    """The 3×3 convolution of x with g, without padding; pool: the largest of each 2×2 outputs.

    x is (channels in, height, width, m); g is (9, channels out, channels in), the taps row by
    row. As everywhere in neural networks the kernel is not flipped. Each side is 4 n + 2.
    """
    if jax.default_backend() == "cpu":
        tiles = winograd(x, g)
        return max_pool(tiles) if pool else untile(tiles)
    return xla_convolve(x, g, pool=pool)


def xla_convolve(x: Images, g: Kernel, *, pool: bool = False) -> Float[Array, "out _ _ m"]:
    """The same by XLA's own convolution, for which a GPU has a library: there it takes 0.7 of the
    time of Winograd's form in the largest network of exercise 7 (NVIDIA H100)."""
    y = jax.lax.conv_general_dilated(
        x, g.reshape(3, 3, *g.shape[1:]), (1, 1), "VALID",
        dimension_numbers=("CHWN", "HWOI", "CHWN"),
    )  # fmt: skip
    if not pool:
        return y
    channels, height, width, m = y.shape
    return y.reshape(channels, height // 2, 2, width // 2, 2, m).max(axis=(2, 4))


@jax.custom_vjp
def winograd(x: Images, g: Kernel) -> Tiles:
    """The 3×3 convolution of x with g, without padding, as tiles of 4×4 outputs.

    Tile element (i, j) of row r and column c is output pixel (4 r + i, 4 c + j): `untile` puts
    them in order.
    """
    return _forward(x, g)[0]


def _forward(x, g):
    if x.shape[1] % TILE != 2 or x.shape[2] % TILE != 2:
        raise ValueError(f"images of {x.shape[1]} × {x.shape[2]}: each side must be 4 n + 2")
    U = _kernel_transform(g)
    V = _input_transform(x)
    rows, columns = V.shape[3:5]
    # U V for each of the 36 elements: (out, in) times (in, tiles and examples).
    M = jax.lax.dot_general(U, V.reshape(*V.shape[:3], -1), (((3,), (2,)), ((0, 1), (0, 1))))
    M = M.reshape(*M.shape[:3], rows, columns, x.shape[3])
    return _both_axes(AT, M), (U, V)


def _backward(saved, dY):
    U, V = saved
    dM = _both_axes(AT.T, dY)
    flat_dM, flat_V = (a.reshape(*a.shape[:3], -1) for a in (dM, V))
    dU = jax.lax.dot_general(flat_dM, flat_V, (((3,), (3,)), ((0, 1), (0, 1))))
    dV = jax.lax.dot_general(U, flat_dM, (((2,), (2,)), ((0, 1), (0, 1))))
    return _input_gradient(dV.reshape(V.shape)), _kernel_gradient(dU)


winograd.defvjp(_forward, _backward)


def _kernel_transform(g: Kernel) -> Float[Array, "6 6 out in"]:
    """U = G g Gᵀ."""
    return _both_axes(G, g.reshape(3, 3, *g.shape[1:]))


def _kernel_gradient(dU: Float[Array, "6 6 out in"]) -> Kernel:
    """∂J/∂g = Gᵀ ∂J/∂U G."""
    return _both_axes(G.T, dU).reshape(9, *dU.shape[2:])


def _input_transform(x: Images) -> Float[Array, "6 6 channels rows columns m"]:
    """V = Bᵀ x B of the 6×6 pixels under each tile, which overlap by two."""
    height, width = x.shape[1:3]
    if height == width == TAPS:  # one tile: the same as below, but compiled in half the time
        return _both_axes(BT, x.transpose(1, 2, 0, 3))[:, :, :, None, None]
    under = [x[:, i : height + i - TAPS + 1 : TILE] for i in range(TAPS)]
    along = _combine(under, axis=0)
    under = [along[:, :, :, j : width + j - TAPS + 1 : TILE] for j in range(TAPS)]
    return _combine(under, axis=1)


def _input_gradient(dV: Float[Array, "6 6 channels rows columns m"]) -> Images:
    """∂J/∂x = B ∂J/∂V Bᵀ of each tile, added up where tiles overlap."""
    d = _both_axes(BT.T, dV)
    _, _, channels, rows, columns, m = d.shape
    if rows == columns == 1:
        return d[:, :, :, 0, 0].transpose(2, 0, 1, 3)
    # Axis by axis, the rest of the array kept aside in one axis before it and one after.
    d = _overlap(d.reshape(TAPS, TAPS * channels, rows, columns * m))
    height = d.shape[1]
    d = _overlap(d.reshape(TAPS, channels * height, columns, m))
    return d.reshape(channels, height, -1, m)


def _overlap(d: Float[Array, "6 before n after"]) -> Float[Array, "before size after"]:
    """The 6 pixels of each of n tiles along one axis, four apart, in one row of 4 n + 2."""
    _, before, n, after = d.shape
    nothing = jnp.zeros((before, 1, after), d.dtype)
    phases = []
    for i in range(TILE):
        phase = jnp.concatenate([d[i], nothing], axis=1)
        if i + TILE < TAPS:
            phase += jnp.concatenate([nothing, d[i + TILE]], axis=1)
        phases.append(phase)
    whole = jnp.stack(phases, axis=2).reshape(before, TILE * (n + 1), after)
    return whole[:, : TILE * n + 2]


def _both_axes(matrix: np.ndarray, a: Float[Array, "k k *rest"]) -> Float[Array, "n n *rest"]:
    """matrix a matrixᵀ over the first two axes: one product, which reads and writes each once."""
    n, k = matrix.shape
    both = jnp.asarray(np.kron(matrix, matrix), a.dtype)
    return (both @ a.reshape(k * k, -1)).reshape(n, n, *a.shape[2:])


def _combine(terms: list[Array], axis: int) -> Array:
    """The linear combinations of the terms that Bᵀ makes, stacked.

    Written out: tiles overlap, and for a product of matrices would first have to be copied apart.
    """
    combinations = []
    for row in BT.tolist():
        scaled = [t if c == 1 else c * t for c, t in zip(row, terms, strict=True) if c]
        combinations.append(reduce(add, scaled))
    return jnp.stack(combinations, axis)


def untile(y: Float[Array, "n n out rows columns m"]) -> Float[Array, "out _ _ m"]:
    """Images (channels, 4 rows, 4 columns, m) from the tiles that `winograd` returns."""
    n, _, channels, rows, columns, m = y.shape
    return y.transpose(2, 3, 0, 4, 1, 5).reshape(channels, n * rows, n * columns, m)


@jax.custom_vjp
def max_pool(y: Tiles) -> Float[Array, "out _ _ m"]:
    """The largest of each 2×2 pixels of a convolution: (channels, 2 rows, 2 columns, m)."""
    return _pool_forward(y)[0]


def _pool_forward(y):
    a, b, c, d = y[0::2, 0::2], y[0::2, 1::2], y[1::2, 0::2], y[1::2, 1::2]
    largest = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    return untile(largest), (a, b, c, largest)


def _pool_backward(saved, d_images):
    a, b, c, largest = saved
    channels, height, width, m = d_images.shape
    dy = d_images.reshape(channels, height // 2, 2, width // 2, 2, m).transpose(2, 4, 0, 1, 3, 5)
    # The first of equal pixels gets all of it: where the background is constant all four are.
    from_a = a == largest
    from_b = ~from_a & (b == largest)
    from_c = ~from_a & ~from_b & (c == largest)
    from_d = ~(from_a | from_b | from_c)
    one_each = [jnp.where(here, dy, 0.0) for here in (from_a, from_b, from_c, from_d)]
    rows = [jnp.stack(one_each[i : i + 2], axis=2) for i in (0, 2)]  # (2, 2, 2 of columns, …)
    both = jnp.stack(rows, axis=1)  # (2, 2 of rows, 2, 2 of columns, …)
    return (both.reshape(TILE, TILE, *both.shape[4:]),)


max_pool.defvjp(_pool_forward, _pool_backward)


# Of the first convolution, by the side of its kernel.
BORDER_AND_STEP = {5: (2, 2), 3: (0, 1)}


def convolve_first(
    x: Float[Array, "height width m"], g: Float[Array, "taps out"]
) -> Float[Array, "out _ _ m"]:
    """The convolution of images of one channel, with g of 5×5 or 3×3 taps, (taps, channels out).

    5×5: padded by two pixels, in steps of two, so that half the height and width come out. 3×3:
    every pixel, without padding. One matrix product with the pixels under each output; x gets no
    gradient, for it is the data.
    """
    taps = 5 if len(g) == 25 else 3
    border, step = BORDER_AND_STEP[taps]
    x = jnp.pad(jax.lax.stop_gradient(x), ((border, border), (border, border), (0, 0)))
    height, width = (size - taps + 1 for size in x.shape[:2])
    # The pixels under each tap, row by row of the kernel: both axes at once compile twice as long.
    rows = jnp.stack([x[i : i + height : step] for i in range(taps)])
    under = jnp.stack([rows[:, :, j : j + width : step] for j in range(taps)], axis=1)
    y = jax.lax.dot_general(g, under.reshape(len(g), -1), (((0,), (0,)), ((), ())))
    return y.reshape(-1, *under.shape[2:])
