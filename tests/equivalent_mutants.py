"""Mutants that no test can or should tell from the source: (file, line, change) → the reason."""

_CONSTANT = "the maximum cancels in the softmax and so in its derivative; a constant is less work"
_UNUSED = "δ1 as well, which no gradient takes"
_SIZE = "how many numbers are held at once: time and memory, never the result"
_NEVER_ONE = "ceil(n / k) of n >= 1 moves is at least 1 already"
_WORKERS = "how many compiled calls run at a time, never what they return"
_TINY = "nothing is subtracted: every tiny step gives the same digits"

_MIRRORED = "the same points on both sides of θ, the other side first"
_EVEN = "its square is the same"
_MARGIN = "between rounding or a smooth cost and a kink lie factors of a hundred and more"
_STEP = "any step well below the first one will do"
_FAR = "what is not a number is apart by ∞, above any line"
_TIME = "how much is looked at before, or in place of, the rest: time, never right or wrong"
_NOTHING = "stands for a length of zero, so that nothing is divided by zero"
_EITHER = "a random direction and the opposite one are as likely"

NUMERICAL = "gradcheck/numerical.py"
_LARGEST = "return jax.lax.stop_gradient(z.real.max(axis=1, keepdims=True)).astype(z.dtype)"
_MOST = "MOST_NUMBERS_AT_ONCE // (theta.size * points),"
_CALLS = "count = max(-(-len(moves) // (chunk * CHUNKS_PER_CALL)), 1)"

WITNESSES = "gradcheck/witnesses.py"
_NEAR = "near, _ = numerical.central_differences(*at, here, step=h / 8)"
_NEAREST = "nearest, _ = numerical.central_differences(*at, here, step=h / 128)"
_OFFSETS = "offsets = h * np.array([-2.0, -1.0, -0.01, 0.0, 0.01, 1.0, 2.0])"
_UNSURE = "unsure = ~(np.abs(near - nearest) <= noise / h * (8 + 128))"
_ROUNDING = "rounding = np.where(unsure, noise / h * 128, noise / h * 8)"
_CHANGED = "changed = ~(np.abs(value - n[these]) <= 10 * rounding) & np.isfinite(value)"
_WIDE = (
    "wide = np.maximum(np.abs(left + right - 2 * J0), np.abs(far + far_right - 2 * J0) / 4) / h**2"
)
_CLOSE = "close = np.abs(near_left + near_right - 2 * J0) / (0.01 * h) ** 2"
_BENDS = "return (wide > 3 * close + hidden) | (close > 3 * wide + hidden)"
_ROOM = "jump, room = np.abs(right - left), 3 * noise / (h * sizes)"

_OWN = "own = (delta.dtype == jnp.float64 or delta.shape[1] <= 32) and delta.size < 1_000_000"
_TRANSPOSED = "return jax.lax.optimization_barrier(delta.T) if own else delta.T"
_PRODUCT = "by which of XLA's products: time, never the result"

VERDICT = "gradcheck/verdict.py"
_LENGTH = "share = max(norm(wrong[n].error) / max(float(norm(right[n])), 1e-300) for n in known)"
_ROWS = "directions[:, span] = (d / rows).reshape(count, -1)"

EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("backprop.py", "for l in range(L - 1, 1, -1):", "1 → 0 (2)"): _UNUSED,
    ("backprop.py", _TRANSPOSED, "if → True"): _PRODUCT,
    ("backprop.py", _TRANSPOSED, "if → False"): _PRODUCT,
    ("backprop.py", _OWN, "== → !="): _PRODUCT,
    ("backprop.py", _OWN, "or → and"): _PRODUCT,
    ("backprop.py", _OWN, "and → or"): _PRODUCT,
    ("backprop.py", _OWN, "<= → >"): _PRODUCT,
    ("backprop.py", _OWN, "<= → <"): _PRODUCT,
    ("backprop.py", _OWN, "1 → 0"): _PRODUCT,
    ("backprop.py", _OWN, "32 → 33"): _PRODUCT,
    ("backprop.py", _OWN, "32 → 31"): _PRODUCT,
    ("backprop.py", _OWN, "< → >="): _PRODUCT,
    ("backprop.py", _OWN, "< → <="): _PRODUCT,
    ("backprop.py", _OWN, "1000000 → 1000001"): _PRODUCT,
    ("backprop.py", _OWN, "1000000 → 999999"): _PRODUCT,
    ("losses.py", _LARGEST, "stop_gradient(…) left out"): _CONSTANT,
    (NUMERICAL, "COMPLEX_STEP = 1e-30", "1e-30 → 1e-27"): _TINY,
    (NUMERICAL, "COMPLEX_STEP = 1e-30", "1e-30 → 1e-33"): _TINY,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "5 → 6"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "5 → 4"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "<< → >>"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "17 → 18"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "17 → 16"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_ON_THE_WAY = 1 << 22", "1 → 2"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_ON_THE_WAY = 1 << 22", "1 → 0"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_ON_THE_WAY = 1 << 22", "<< → >>"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_ON_THE_WAY = 1 << 22", "22 → 23"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_ON_THE_WAY = 1 << 22", "22 → 21"): _SIZE,
    (NUMERICAL, "MOST_COORDINATES_AT_ONCE = 256", "256 → 257"): _SIZE,
    (NUMERICAL, "MOST_COORDINATES_AT_ONCE = 256", "256 → 255"): _SIZE,
    (NUMERICAL, "CHUNKS_PER_CALL = 64", "64 → 65"): _SIZE,
    (NUMERICAL, "CHUNKS_PER_CALL = 64", "64 → 63"): _SIZE,
    (NUMERICAL, "most = min(", "min → max"): _SIZE,
    (NUMERICAL, _MOST, "// → *"): _SIZE,
    (NUMERICAL, _MOST, "sign turned"): _SIZE,
    (NUMERICAL, "with ThreadPoolExecutor(2) as pool:", "2 → 3"): _WORKERS,
    (NUMERICAL, "with ThreadPoolExecutor(2) as pool:", "2 → 1"): _WORKERS,
    (NUMERICAL, "chunk = max(min(most, len(moves)), 1)", "1 → 2"): _SIZE,
    (NUMERICAL, _CALLS, "// → *"): _SIZE,
    (NUMERICAL, _CALLS, "1 → 2"): _SIZE,
    (NUMERICAL, _CALLS, "1 → 0"): _NEVER_ONE,
    (
        NUMERICAL,
        "right, left = costs_along(J, theta, data, moves, step * np.array([1.0, -1.0]), advance).T",
        "* → /",
    ): "dividing by ±1",
    (
        NUMERICAL,
        "return float(J(theta, data) if isinstance(J, PlainCost) else _cost(J, theta, data))",
        "if → True",
    ): "compiled or not, J is the same",
    (
        NUMERICAL,
        "return np.asarray(rows).reshape(chunk * chunks, *rows.shape[2:])[: len(here)]",
        "sign turned",
    ): "reshape finds out a length that is negative",
    (
        NUMERICAL,
        "return _in_chunks(_complex_step, J, theta, data, moves, step, 1, advance)",
        "1 → 2",
    ): _SIZE,
    (WITNESSES, "PROBES = 64", "64 → 65"): _TIME,
    (WITNESSES, "PROBES = 64", "64 → 63"): _TIME,
    (
        WITNESSES,
        "typical = np.sqrt(np.mean(np.square(finite))) if finite.size else 0.0",
        "0.0 → 1.0",
    ): _FAR,
    (WITNESSES, _NEAR, "sign turned"): _MIRRORED,
    (WITNESSES, _NEAR, "8 → 9"): _STEP,
    (WITNESSES, _NEAREST, "sign turned"): _MIRRORED,
    (WITNESSES, _NEAREST, "128 → 129"): _STEP,
    (WITNESSES, _NEAREST, "128 → 127"): _STEP,
    (WITNESSES, _UNSURE, "8 → 9"): _MARGIN,
    (WITNESSES, _UNSURE, "8 → 7"): _MARGIN,
    (WITNESSES, _ROUNDING, "128 → 129"): _MARGIN,
    (WITNESSES, _ROUNDING, "128 → 127"): _MARGIN,
    (WITNESSES, _UNSURE, "128 → 129"): _MARGIN,
    (WITNESSES, _UNSURE, "128 → 127"): _MARGIN,
    (WITNESSES, _ROUNDING, "8 → 9"): _MARGIN,
    (WITNESSES, _ROUNDING, "8 → 7"): _MARGIN,
    (WITNESSES, _CHANGED, "10 → 11"): _MARGIN,
    (WITNESSES, _CHANGED, "10 → 9"): _MARGIN,
    (WITNESSES, _OFFSETS, "sign turned"): _MIRRORED,
    (WITNESSES, _WIDE, "4 → 5"): _MARGIN,
    (WITNESSES, _WIDE, "4 → 3"): _MARGIN,
    (WITNESSES, _CLOSE, "sign turned (3)"): _EVEN,
    (WITNESSES, "hidden = noise / (0.01 * h) ** 2", "sign turned (2)"): _EVEN,
    (WITNESSES, _BENDS, "3 → 4"): _MARGIN,
    (WITNESSES, _BENDS, "3 → 2"): _MARGIN,
    (WITNESSES, _BENDS, "3 → 4 (2)"): _MARGIN,
    (WITNESSES, _BENDS, "3 → 2 (2)"): _MARGIN,
    (WITNESSES, _ROOM, "3 → 4"): _MARGIN,
    (WITNESSES, _ROOM, "3 → 2"): _MARGIN,
    (VERDICT, "WHOLE_UP_TO = 2_000", "2000 → 2001"): _TIME,
    (VERDICT, "WHOLE_UP_TO = 2_000", "2000 → 1999"): _TIME,
    (VERDICT, "WHOLE_PLAIN_UP_TO = 300", "300 → 301"): _TIME,
    (VERDICT, "WHOLE_PLAIN_UP_TO = 300", "300 → 299"): _TIME,
    (VERDICT, "DETAIL_SECONDS, FOR_TIME = 60.0, 16", "60.0 → 120.0"): _TIME,
    (VERDICT, _LENGTH, "1e-300 → 1e-297"): _NOTHING,
    (VERDICT, _LENGTH, "1e-300 → 1.0000000000000001e-303"): _NOTHING,
    (VERDICT, _ROWS, "sign turned"): _EITHER,
    (VERDICT, _ROWS, "1 → 2"): "reshape finds out a length that is negative",
}
