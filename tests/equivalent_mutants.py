"""Mutants that no test can or should tell from the source: (file, line, change) → the reason."""

_CONSTANT = "the maximum cancels in the softmax and so in its derivative; a constant is less work"
_UNUSED = "δ1 as well, which no gradient takes"
_SIZE = "how many numbers are held at once: time and memory, never the result"
_NEVER_ONE = "ceil(n / k) of n >= 1 moves is at least 1 already"
_WORKERS = "how many compiled calls run at a time, never what they return"
_TINY = "nothing is subtracted: every tiny step gives the same digits"

NUMERICAL = "gradcheck/numerical.py"
_LARGEST = "return jax.lax.stop_gradient(z.real.max(axis=1, keepdims=True)).astype(z.dtype)"
_MOST = "most = min(MOST_COORDINATES_AT_ONCE, MOST_NUMBERS_AT_ONCE // (theta.size * points))"
_CALLS = "calls = max(-(-len(moves) // (chunk * CHUNKS_PER_CALL)), 1)"

EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("backprop.py", "for l in range(L - 1, 1, -1):", "1 → 0 (2)"): _UNUSED,
    ("losses.py", _LARGEST, "stop_gradient(…) left out"): _CONSTANT,
    (NUMERICAL, "COMPLEX_STEP = 1e-30", "1e-30 → 1e-27"): _TINY,
    (NUMERICAL, "COMPLEX_STEP = 1e-30", "1e-30 → 1e-33"): _TINY,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "5 → 6"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "5 → 4"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "<< → >>"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "17 → 18"): _SIZE,
    (NUMERICAL, "MOST_NUMBERS_AT_ONCE = 5 << 17", "17 → 16"): _SIZE,
    (NUMERICAL, "MOST_COORDINATES_AT_ONCE = 256", "256 → 257"): _SIZE,
    (NUMERICAL, "MOST_COORDINATES_AT_ONCE = 256", "256 → 255"): _SIZE,
    (NUMERICAL, "CHUNKS_PER_CALL = 64", "64 → 65"): _SIZE,
    (NUMERICAL, "CHUNKS_PER_CALL = 64", "64 → 63"): _SIZE,
    (NUMERICAL, _MOST, "min → max"): _SIZE,
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
}
