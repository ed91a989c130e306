"""Where right gradients were called wrong and wrong ones passed: scales, precision, solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlab
from jaxlab.gradcheck import verdict


def logistic(s):
    """J of inputs that nobody scaled: s = 1e8, and weights as small as that is large."""
    rng = np.random.default_rng(0)
    y, x = rng.choice([-1.0, 1.0], 20), rng.standard_normal((20, 3)) * s

    def cost(p, x):
        return jnp.logaddexp(0.0, -y * (x @ p["w"] + p["b"])).mean()

    return cost, {"w": rng.standard_normal(3) / s, "b": np.array(0.3)}, x


@pytest.mark.parametrize("s", [1e3, 1e6, 1e7, 1e8])
def test_small_weights_of_large_inputs_lie_on_no_kink(s):
    cost, params, x = logistic(s)
    assert jaxlab.check_gradients(jax.value_and_grad(cost), params, x, cost=cost)

    def wrong(p, x):
        J, g = jax.value_and_grad(cost)(p, x)
        return J, g | {"w": g["w"].at[1].multiply(1.01)}

    check = jaxlab.check_gradients(wrong, params, x, cost=cost)
    assert check.wrong == ("w",)
    assert not any("lie on a kink" in note for note in check.notes)


@pytest.mark.parametrize("s", [1e4, 2e7, 1e9])
def test_two_exact_witnesses_outweigh_a_step_that_is_too_long(s):
    params = np.random.default_rng(0).standard_normal(5) / s
    assert jaxlab.check_gradients(
        jax.value_and_grad(lambda p: jnp.tanh(s * p).sum()),
        params,
        cost=lambda p: jnp.tanh(s * p).sum(),
    )


def test_a_turned_sign_shows_however_small_its_block_is_beside_J():
    rng = np.random.default_rng(0)
    params = {"a": rng.standard_normal(5), "b": rng.standard_normal(5)}

    def of_sign(sign):
        def f(p):
            J = 1e6 * (p["a"] ** 2).sum() + 1e-9 * jnp.sin(p["b"]).sum()
            return J, {"a": 2e6 * p["a"], "b": sign * 1e-9 * jnp.cos(p["b"])}

        return f

    assert jaxlab.check_gradients(of_sign(1), params)
    check = jaxlab.check_gradients(of_sign(-1), params)
    assert check.wrong == ("b",)
    assert check.mistakes[0].id == "sign"


def test_rounding_of_a_sum_that_cancels_is_no_mistake():
    # The derivative by b is zero: what is left of it is rounding, each time another.
    def cost(p, x):
        z = x @ p["W"] + p["b"]
        return ((z - z.mean(0)) ** 2).sum() ** 2

    def f(p, x):
        z = x @ p["W"] + p["b"]
        c = z - z.mean(0)
        d = 4 * (c**2).sum() * c
        return cost(p, x), {"W": x.T @ d, "b": d.sum(0)}

    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((4, 6)), "b": rng.standard_normal(6)}
    assert jaxlab.check_gradients(f, params, 100 * rng.standard_normal((50, 4)), cost=cost)


def test_float32_parameters_do_not_make_a_gradient_float32():
    params = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    params[-1] = 1e-3

    def forgets_the_last(p):
        return (p**2).sum(), 2 * p * np.r_[np.ones(999), 0.0]

    check = jaxlab.check_gradients(forgets_the_last, params)
    assert check.precision == "float64"
    assert not check
    assert "entry 1000 of 1000" in check.mistakes[0].explanation
    in_float32 = jaxlab.check_gradients(
        lambda p: ((p**2).sum(), (2 * p.astype(jnp.float32)).astype(jnp.float64)),
        params.astype(float) * np.pi,
    )
    assert in_float32
    assert in_float32.precision == "float32"


def test_labels_of_int64_in_a_function_that_was_compiled_before():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((20, 5)).astype(np.float32), rng.integers(0, 4, 20)
    params = {"W": rng.standard_normal((5, 4)).astype(np.float32)}

    def of_factor(factor):
        @jax.custom_vjp
        def nll(z):
            return -jax.nn.log_softmax(z)[np.arange(20), labels].mean()

        def backward(z, g):
            return (factor * g * (jax.nn.softmax(z) - jax.nn.one_hot(labels, 4)) / 20,)

        nll.defvjp(lambda z: (nll(z), z), backward)
        return lambda p, x: nll(x @ p["W"])

    for factor, right in ((1.0, True), (1.01, False)):
        loss = of_factor(factor)
        jax.jit(loss)(params, x)  # as training does
        check = jaxlab.check_gradients(jax.value_and_grad(loss), params, x, cost=loss)
        assert bool(check) is right
        assert check.precision == "float64"
        # As a function with a rule of its own, which must be traced to be seen.
        assert bool(jaxlab.check_gradients(jax.jit(loss), params, x)) is right


def test_what_a_function_said_of_float64_is_told():
    def only_float32(p):
        if p.dtype != np.float32:
            raise ValueError("this library takes float32 alone")
        return (p**2).sum(), 2 * p

    check = jaxlab.check_gradients(only_float32, np.ones(3, np.float32) / 3)
    assert check
    assert "ValueError: this library takes float32 alone" in check.notes[-1]


def fixed_point(tolerance):
    """J of the z that solves z = tanh(W z + b), with the derivative by the implicit function."""

    @jax.custom_vjp
    def solve(W, b):
        def step(z):
            return jnp.tanh(W @ z[0] + b), z[0]

        return jax.lax.while_loop(
            lambda z: jnp.abs(z[0] - z[1]).max() > tolerance, step, (jnp.tanh(b), 0 * b)
        )[0]

    def forward(W, b):
        z = solve(W, b)
        return z, (W, z)

    def backward(kept, g):
        W, z = kept
        D = 1 - z * z
        u = jnp.linalg.solve((jnp.eye(5) - D[:, None] * W).T, g)
        return jnp.outer(u * D, z), u * D

    solve.defvjp(forward, backward)
    w = np.random.default_rng(1).standard_normal(5)
    return lambda p: w @ solve(p["W"], p["b"])


def test_a_solver_that_ends_by_a_tolerance():
    rng = np.random.default_rng(0)
    params = {"W": 0.2 * rng.standard_normal((5, 5)), "b": rng.standard_normal(5)}
    exact, rough = fixed_point(1e-8), fixed_point(1e-4)
    assert jaxlab.check_gradients(jax.value_and_grad(exact), params, cost=exact)
    check = jaxlab.check_gradients(jax.value_and_grad(rough), params, cost=rough)
    assert not check
    assert any("ends by a condition" in note for note in check.notes)


def test_a_wrong_block_is_looked_at_whole_for_a_minute_at_most(monkeypatch):
    @jax.custom_vjp
    def op(p):
        return jnp.sin(p)

    op.defvjp(lambda p: (op(p), p), lambda p, g: ((g * jnp.cos(p)).at[7].multiply(1.5),))

    def cost(p):
        return op(p).sum()

    params = np.random.default_rng(0).standard_normal(3_000)
    whole = jaxlab.check_gradients(jax.value_and_grad(cost), params, cost=cost)
    assert whole.blocks[0].checked == 3_000
    monkeypatch.setattr(verdict, "DETAIL_SECONDS", 0.0)
    in_part = jaxlab.check_gradients(jax.value_and_grad(cost), params, cost=cost)
    assert whole.wrong == in_part.wrong == ("theta",)
    assert any("was not looked at whole" in note for note in in_part.notes)


def test_where_random_parameters_leave_what_J_is_defined_for():
    rng = np.random.default_rng(0)
    B, w = rng.standard_normal((2, 4, 4))

    def cost(p, w):
        return (w * jnp.linalg.cholesky(p["A"])).sum()

    def wrong(p, w):
        return cost(p, w), {"A": jnp.ones((4, 4))}

    check = jaxlab.check_gradients(wrong, {"A": B @ B.T + np.eye(4)}, w)
    assert check.wrong == ("A",)
    assert check.mistakes == ()


def test_an_infinite_gradient_is_told_by_its_place():
    check = jaxlab.check_gradients(lambda p: ((p**2).sum(), np.array([np.inf, 4.0])), np.r_[1.0, 2])
    assert not check
    assert "not a number in 1 of 2 entries, first at [0]" in check.mistakes[0].explanation


def test_debug_nans_is_for_the_function_not_for_the_steps_of_the_check():
    def cost(p):
        return -jnp.log(p).sum()

    with jax.debug_nans(True):
        assert jaxlab.check_gradients(jax.value_and_grad(cost), np.array([1e-4, 0.5]), cost=cost)


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda p: {"W": p["W"]}, "it comes without b"),
        (lambda p: (p["W"], p["b"]), "it comes without W, b and with 0, 1 beside"),
        (lambda p: p["W"], "params a dict: several arrays go into one dict or tuple"),
        (lambda p: {"W": [p["W"]], "b": p["b"]}, "with W.0 beside"),
    ],
)
def test_a_gradient_of_another_form_is_told_by_its_keys(gradient, words):
    params = {"W": np.ones((2, 2)), "b": np.ones(2)}
    with pytest.raises(jaxlab.ShapeError, match=words):
        jaxlab.check_gradients(lambda p: ((p["W"] ** 2).sum(), gradient(p)), params)


def test_a_sample_of_coordinates_says_nothing_of_the_others():
    params = np.random.default_rng(0).standard_normal(30)

    def wrong(p):
        return jnp.sin(p).sum(), jnp.cos(p).at[4].set(0)

    check = jaxlab.check_gradients(wrong, params, coordinates=2)
    assert not check
    assert not any("jax.grad agrees" in note for note in check.notes)


def test_a_seed_is_a_whole_number():
    with pytest.raises(jaxlab.OptionError, match="seed is -1"):
        jaxlab.check_gradients(lambda p: (1.0, p), np.ones(2), seed=-1)


def test_the_last_line_of_a_notebook_s_cell_shows_the_table():
    class Printer:
        def text(self, words):
            self.words = words

    printer, check = Printer(), jaxlab.check_gradients(lambda p: ((p**2).sum(), 2 * p), np.ones(2))
    check._repr_pretty_(printer, False)
    assert printer.words == str(check)
