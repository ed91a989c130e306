"""The gradient check of anybody's function: NumPy, JAX, other libraries, any form of parameters."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlab
from jaxlab import CheckError, OptionError, ShapeError, assert_gradients, check_gradients
from jaxlab.gradcheck.check import random_params

RNG = np.random.default_rng(0)
X, LABELS = RNG.random((7, 3)), RNG.integers(0, 2, 7)
TARGET = RNG.random(7)
THETA = RNG.standard_normal(4)


def loops(theta, X, y):
    """Squared error of a logistic unit, in loops, with a gradient that is written in place."""
    J, grad = 0.0, np.zeros_like(theta)
    m = len(X)
    for i in range(m):
        z = float(theta[0])
        for j in range(X.shape[1]):
            z += theta[j + 1] * X[i, j]
        a = 1 / (1 + np.exp(-z))
        J += 0.5 * (a - y[i]) ** 2 / m
        delta = (a - y[i]) * a * (1 - a)
        grad[0] += delta / m
        grad[1:] += delta * X[i] / m
    return J, grad


def unit(params, X, y):
    a = jax.nn.sigmoid(X @ params["w"] + params["b"])
    return 0.5 * jnp.mean((a - y) ** 2)


def test_numpy_loops_are_checked_by_calling_them():
    check = check_gradients(loops, THETA, X, TARGET)
    assert check, str(check)
    assert check.diff.keys() == {"finite_difference"}
    assert check.diff["finite_difference"] < 1e-9
    assert check.taylor_order == pytest.approx(2, abs=0.01)
    assert "central differences are the only witness" in str(check)

    def doubled(theta, X, y):
        J, grad = loops(theta, X, y)
        return J, 2 * grad

    wrong = check_gradients(doubled, THETA, X, TARGET)
    assert wrong.wrong == ("theta",)
    assert [mistake.id for mistake in wrong.mistakes] == ["factor"]


class Unit(NamedTuple):
    w: jax.Array
    b: jax.Array


@jax.tree_util.register_dataclass
@dataclass
class UnitClass:
    w: jax.Array
    b: jax.Array


def test_any_form_of_parameters_is_named_by_its_path():
    w, b = np.array([0.3, -0.2, 0.7]), np.array(0.4)

    def as_dict(p, X, y):
        return jax.value_and_grad(unit)(p, X, y)

    def as_object(p, X, y):
        J, g = jax.value_and_grad(unit)({"w": p.w, "b": p.b}, X, y)
        return J, type(p)(**g)

    def as_list(p, X, y):
        J, g = jax.value_and_grad(unit)({"w": p[0], "b": p[1]}, X, y)
        return J, (g["w"], g["b"])  # a tuple for a list

    def nested(p, X, y):
        J, g = jax.value_and_grad(unit)(
            {"w": p["layers"][0]["kernel"], "b": p["layers"][0]["b"]}, X, y
        )
        return J, {"layers": [{"kernel": g["w"], "b": g["b"]}]}

    def coursera(p, X, y):
        J, g = jax.value_and_grad(unit)(p, X, y)
        return J, {"dw": g["w"], "db": g["b"], "dZ": X}

    forms = [
        (as_dict, {"w": w, "b": b}, ["b", "w"]),
        (as_object, Unit(w, b), ["w", "b"]),
        (as_object, UnitClass(w, b), ["w", "b"]),
        (as_list, [w, b], ["0", "1"]),
        (nested, {"layers": [{"kernel": w, "b": b}]}, ["layers.0.b", "layers.0.kernel"]),
        (coursera, {"w": w, "b": b}, ["b", "w"]),
    ]
    for function, params, names in forms:
        check = check_gradients(function, params, X, TARGET)
        assert check, str(check)
        assert [block.name for block in check.blocks] == names
        assert set(check.diff) == {"finite_difference", "autograd"}
        assert "takes no complex numbers" in str(check)  # jax.value_and_grad does not


def test_a_pair_of_functions():
    pair = (unit, jax.grad(unit))
    params = {"w": np.array([0.3, -0.2, 0.7]), "b": np.array(0.4)}
    assert check_gradients(pair, params, X, TARGET)
    half = (unit, lambda *args: jax.tree.map(lambda g: g / 2, jax.grad(unit)(*args)))
    assert check_gradients(half, params, X, TARGET).wrong == ("b", "w")


def test_labels_strings_and_nothing_among_the_arguments():
    def cost(params, X, labels, kind, nothing, options):
        assert kind == "logistic"
        assert nothing is None
        a = jax.nn.sigmoid(X @ params["w"])
        y = jnp.eye(2)[labels][:, 1]
        return options["scale"] * jnp.mean((a - y.astype(a.dtype)) ** 2)

    args = (X, LABELS, "logistic", None, {"scale": 2, "names": ["a"], "f": {1, 2}})
    params = {"w": np.array([0.3, -0.2, 0.7]), "steps": 3}

    def cost_and_grad(params, *args):
        J, g = jax.value_and_grad(lambda w: cost({"w": w}, *args))(params["w"])
        return J, {"w": g, "steps": 0}

    check = check_gradients(cost_and_grad, params, *args)
    assert check, str(check)
    assert [block.name for block in check.blocks] == ["w"]
    assert "autograd" in check.diff


def ruled(factor):
    @jax.custom_vjp
    def cost(theta, x):
        return jnp.sin(theta * x).sum()

    cost.defvjp(
        lambda theta, x: (cost(theta, x), (theta, x)),
        lambda kept, dJ: (factor * dJ * kept[1] * jnp.cos(kept[0] * kept[1]), None),
    )
    return cost


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, lambda f: partial(f), lambda f: (
    lambda theta, x: f(theta, x) * 1)], ids=["bare", "jit", "partial", "inside"])  # fmt: skip
def test_a_custom_vjp_is_judged_by_the_function_that_it_belongs_to(wrap):
    theta, x = np.array([0.3, 0.5, -1.0]), np.array([1.0, 2.0, 3.0])
    right = check_gradients(wrap(ruled(1)), theta, x)
    assert right, str(right)
    wrong = check_gradients(wrap(ruled(2)), theta, x)
    assert wrong.wrong == ("theta",)
    assert [mistake.id for mistake in wrong.mistakes] == ["factor"]
    # Inside another function jax.grad would follow the rule that is under test.
    assert ("autograd" in wrong.diff) == ("rule" not in "".join(wrong.notes))


def test_a_compiled_function_is_traced_for_the_first_check_alone():
    traces = []

    @jax.jit
    @jax.custom_vjp
    def half_square(w, x):
        if isinstance(w, jax.core.Tracer):
            traces.append(w)
        return 0.5 * ((w * x) ** 2).sum()

    half_square.__wrapped__.defvjp(
        lambda w, x: (0.5 * ((w * x) ** 2).sum(), (w, x)),
        lambda wx, dJ: (dJ * wx[0] * wx[1] ** 2, None),
    )
    assert check_gradients(half_square, THETA, X[:4, 0])
    first = len(traces)
    assert first > 0
    assert check_gradients(half_square, 2 * THETA, X[3:, 0])
    assert len(traces) == first


def test_jaxlabs_own_custom_vjp():
    x, y = RNG.random((5, 4)), np.eye(3)[RNG.integers(0, 3, 5)]
    check = check_gradients(jaxlab.differentiable_cost, random_params(0, (4, 3, 3)), x, y)
    assert check, str(check)
    assert "autograd" in check.diff


def test_a_wrong_custom_jvp_inside_the_cost_is_no_witness():
    @jax.custom_jvp
    def square(x):
        return x**2

    square.defjvps(lambda t, ans, x: 3 * x * t)
    cost = lambda p: square(p).sum()  # noqa: E731
    check = check_gradients(lambda p: (cost(p), 2 * p), np.array([1.0, 2.5]), cost=cost)
    assert check, str(check)
    assert "autograd" not in check.diff
    assert check_gradients(cost, np.array([1.0, 2.5])).wrong == ("theta",)


def test_a_cost_that_jax_grad_cannot_differentiate():
    """By hand is the only way to a reverse derivative of a loop of unknown length."""

    def newton(params, x):  # the square roots of w x, as far as it takes
        s = params["w"] * x

        def step(a):
            return 0.5 * (a + s / a)

        def far(a):
            return jnp.abs(step(a) - a).max() > 1e-14

        return (jax.lax.while_loop(far, step, s) ** 4).mean() / 2

    params, x = {"w": RNG.uniform(1, 3, 5)}, RNG.uniform(1, 3, 5)
    check = check_gradients((newton, lambda params, x: {"w": params["w"] * x**2 / 5}), params, x)
    assert check, str(check)
    assert check.diff.keys() == {"finite_difference", "complex_step"}
    assert "jax.grad was left out, which cannot differentiate the cost: Reverse-mode" in str(check)
    wrong = check_gradients(
        (newton, lambda params, x: {"w": 3 * params["w"] * x**2 / 5}), params, x
    )
    assert wrong.wrong == ("w",)
    assert [mistake.id for mistake in wrong.mistakes] == ["factor"]


@jax.jit
def relu_network(params, X, y):
    hidden = jax.nn.relu(X @ params["W1"] + params["b1"][None, :])
    return 0.5 * jnp.mean((hidden @ params["W2"] - y) ** 2)


RELU_NETWORK = jax.jit(jax.value_and_grad(relu_network))


def numpy_relu(params, X, y):
    m = len(y)
    z = X @ params["W1"] + params["b1"][None, :]
    a = np.maximum(z, 0.0)
    error = a @ params["W2"] - y
    d = error[:, None] * params["W2"][None, :] * (z > 0) / m
    grads = {"W1": X.T @ d, "b1": d.sum(axis=0), "W2": a.T @ error / m}
    return 0.5 * np.mean(error**2), grads


@pytest.mark.parametrize("distance", [3e-4, 2e-5, 0.0])
@pytest.mark.parametrize("function", [numpy_relu, RELU_NETWORK])
@pytest.mark.parametrize("full", [True, False])
def test_a_kink_within_reach_of_a_step_is_no_mistake(function, full, distance):
    rng = np.random.default_rng(1)
    params = {"W1": rng.standard_normal((3, 4)), "b1": np.zeros(4), "W2": rng.standard_normal(4)}
    x = rng.random((7, 3))
    params["b1"] = distance - x[0] @ params["W1"]  # the first example lies at every unit's kink
    check = check_gradients(function, params, x, TARGET, full=full)
    assert check, str(check)
    assert "kink" in str(check)

    def doubled(*args):
        J, g = function(*args)
        return J, g | {"b1": 2 * g["b1"]}

    assert "b1" in check_gradients(doubled, params, x, TARGET, full=full).wrong


def test_abs_at_zero():
    def cost(p):
        return jnp.abs(p).sum()

    p = np.array([0.0, 1.0, -2.0])
    for at_zero in (-1.0, 0.0, 0.5, 1.0):
        check = check_gradients(lambda p, a=at_zero: (cost(p), np.array([a, 1, -1.0])), p)
        assert check, str(check)
    assert not check_gradients(lambda p: (cost(p), np.array([1.5, 1, -1.0])), p)


def test_what_is_not_deterministic_is_refused():
    rng = np.random.default_rng(0)

    def dropout(theta, X, y):
        kept = rng.random(X.shape) > 0.5
        return loops(theta, X * kept, y)

    with pytest.raises(CheckError, match=r"not deterministic.*dropout"):
        check_gradients(dropout, THETA, X, TARGET)


def insists_on_float32(params, X, y):
    p = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), params)
    return jax.value_and_grad(unit)(p, jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32))


def hides_float32(theta, X, y):
    theta, X, y = (np.asarray(v, np.float32) for v in (theta, X, y))
    a = 1 / (1 + np.exp(-(X @ theta)))
    error = (a - y) * a * (1 - a)
    J, grad = np.float32(0.5) * np.mean((a - y) ** 2), X.T @ error / np.float32(len(y))
    return float(J), grad.astype(np.float64)


@pytest.mark.parametrize(
    ("function", "params", "options"),
    [
        (insists_on_float32, {"w": np.array([0.3, -0.2, 0.7]), "b": np.array(0.4)}, {}),
        (jax.value_and_grad(unit), {"w": np.array([0.3, -0.2, 0.7]), "b": np.array(0.4)},
         {"dtype": "float32"}),
        (hides_float32, np.array([0.3, -0.2, 0.7]), {}),
    ],
)  # fmt: skip
def test_float32_is_judged_by_what_float32_can_see(function, params, options):
    check = check_gradients(function, params, X, TARGET, **options)
    assert check, str(check)
    assert check.precision == "float32"
    assert "cannot be told from rounding" in str(check)

    def doubled(*args):
        J, g = function(*args)
        return J, jax.tree.map(lambda v: 2 * v, g)

    wrong = check_gradients(doubled, params, X, TARGET, **options)
    assert not wrong


def test_a_function_that_refuses_float64_gets_float32():
    def strict(theta, X, y):
        if theta.dtype != np.float32:
            raise TypeError("expected float32")
        return hides_float32(theta, X, y)

    theta = np.array([0.3, -0.2, 0.7], np.float32)
    assert check_gradients(strict, theta, X, TARGET).precision == "float32"
    with pytest.raises(TypeError, match="expected float32"):
        check_gradients(strict, theta.astype(np.float64), X, TARGET)


def big_numpy(wrong):
    def cost_and_grad(params, X, y):
        a = np.tanh(X @ params["W"])
        error = a - y
        g = {"W": X.T @ (error * (1 - a**2)) / len(X), "c": np.cos(params["c"])}
        J = 0.5 * (error**2).sum() / len(X) + np.sin(params["c"]).sum()
        return J, g | ({"c": 3 * g["c"]} if wrong else {})

    return cost_and_grad


def test_directions_first_and_detail_where_it_fails():
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((30, 20)) / 5, "c": rng.standard_normal(5)}
    args = (rng.random((6, 30)), rng.random((6, 20)))
    check = check_gradients(big_numpy(False), params, *args)
    assert check, str(check)
    assert [block.directions for block in check.blocks] == [8, 8]
    assert "16 directions" in str(check)
    wrong = check_gradients(big_numpy(True), params, *args)
    assert wrong.wrong == ("c",)
    assert [block.directions for block in wrong.blocks] == [8, 0]  # c was looked at whole
    assert [(m.id, m.block) for m in wrong.mistakes] == [("factor", "c")]
    full = check_gradients(big_numpy(True), params, *args, full=True)
    assert [block.checked for block in full.blocks] == [600, 5]


def test_directions_see_a_single_weight_that_is_wrong():
    x, y = RNG.random((5, 60)), np.eye(10)[RNG.integers(0, 10, 5)]
    params = random_params(0, (60, 40, 10))

    def one_wrong(params, x, y):
        J, (first, second) = jaxlab.cost_and_grad(params, x, y)
        return J, (first._replace(W=first.W.at[7, 11].multiply(1.001)), second)

    check = check_gradients(one_wrong, params, x, y)
    assert check.blocks[0].directions == 1
    assert "2,400 of 2,400" in str(check)
    assert "in every place, the other witnesses along a random direction" in str(check)
    assert check.wrong == ("W1",)
    assert set(check.blocks[0].objections) >= {"finite_difference", "complex_step", "autograd"}
    assert check.mistakes == ()
    assert "No mistake known here explains the numbers of W1 (right: b1, W2, b2)" in str(check)


def test_every_coordinate_of_a_large_network():
    x, y = RNG.random((5, 60)), np.eye(10)[RNG.integers(0, 10, 5)]
    check = check_gradients(
        jaxlab.cost_and_grad, random_params(0, (60, 40, 10)), x, y, cost=jaxlab.cost, full=True
    )
    assert check
    assert check.blocks[0].checked == 2400
    assert check.diff["finite_difference"] < 1e-7
    assert "two points" in str(check)


def test_the_last_example_missed_is_seen_in_the_examples():
    x, y = RNG.random((6, 4)), np.eye(3)[RNG.integers(0, 3, 6)]

    def missed(params, x, y):
        J, _ = jaxlab.cost_and_grad(params, x, y)
        _, g = jaxlab.cost_and_grad(params, x[:-1], y[:-1])
        return J, jax.tree.map(lambda v: v * 5 / 6, g)

    check = check_gradients(missed, random_params(0, (4, 3, 3)), x, y, cost=jaxlab.cost)
    (mistake,) = check.mistakes
    assert mistake.id == "examples left out"
    assert mistake.block == "W1, b1, W2, b2"
    assert "without the last of 6 examples" in mistake.explanation


def test_a_failed_assertion_says_it_all():
    def wrong(params, x, y):
        J, (first, second) = jaxlab.cost_and_grad(params, x, y)
        return J, (first._replace(b=-first.b), second._replace(W=2 * second.W))

    x, y = RNG.random((6, 4)), np.eye(3)[RNG.integers(0, 3, 6)]
    with pytest.raises(AssertionError) as failure:
        assert_gradients(wrong, random_params(0, (4, 3, 3)), x, y, cost=jaxlab.cost)
    text = str(failure.value)
    assert text.startswith("wrong gradient in b1, W2\n")
    assert "b1 is off" in text
    assert "points the opposite way and is as long as it should be" in text
    assert "it points the right way and is 2 times as long as it should be" in text
    assert "W2 is 2 times what it should be" in text
    assert "b1 is −1 times what it should be: the sign is turned" in text


def test_what_cannot_be_checked_is_refused_in_words():
    with pytest.raises(CheckError, match="cannot be called"):
        check_gradients(3, THETA)
    with pytest.raises(CheckError, match="not the two of"):
        check_gradients(lambda p: (p**2).sum(), THETA)
    with pytest.raises(CheckError, match=r"no floating-point arrays.*int64"):
        check_gradients(loops, np.arange(4), X, TARGET)
    with pytest.raises(CheckError, match="no numbers: every array in it is empty"):
        check_gradients(lambda p: ((p["W"] ** 2).sum(), p), {"W": np.zeros((0, 3))})
    with pytest.raises(CheckError, match="must be one number"):
        check_gradients(lambda p: (p**2, 2 * p), THETA)
    with pytest.raises(ShapeError, match="is it transposed"):
        check_gradients(lambda p: ((p**2).sum(), 2 * p.T), np.ones((2, 3)))
    with pytest.raises(CheckError, match="in bfloat16, which has too few digits"):
        check_gradients(jax.value_and_grad(lambda p: jnp.sum(p.astype(jnp.bfloat16) ** 2)), THETA)
    with pytest.raises(OptionError, match="dtype is"):
        check_gradients(loops, THETA, X, TARGET, dtype="float16")
    with pytest.raises(OptionError, match="choose one"):
        check_gradients(loops, THETA, X, TARGET, coordinates=2, full=True)


def test_a_gradient_is_found_under_the_names_that_people_give_it():
    params = {"W": np.ones((3, 2)), "w": np.full(2, 2.0)}

    def cost(p, x):
        return ((x @ p["W"] @ p["w"]) ** 2).sum() / 2

    x = np.arange(12.0).reshape(4, 3)
    for W, w in (("dW", "dw"), ("grad_W", "grad_w"), ("W_grad", "w_grad"), ("nablaW", "nablaw")):

        def named(p, x, W=W, w=w):
            J, g = jax.value_and_grad(cost)(p, x)
            return J, {w: g["w"], W: g["W"], "accuracy": 0.5}

        assert check_gradients(named, params, x, cost=cost)


def test_scikit_learns_multilayer_perceptron():
    network = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 6)), rng.integers(0, 3, 20)
    model = network.MLPClassifier((5,), activation="logistic", alpha=0.1, max_iter=1, solver="adam")
    with warnings.catch_warnings(action="ignore"):
        model.partial_fit(x, y, classes=[0, 1, 2])
    one_hot = np.eye(3)[y]

    def cost_and_grad(params, x, y):
        model.coefs_, model.intercepts_ = list(params["W"]), list(params["b"])
        units = [x.shape[1], 5, 3]
        activations = [x] + [np.empty((len(x), n)) for n in units[1:]]
        deltas = [np.empty_like(a) for a in activations[1:]]
        grads = [np.empty_like(W) for W in params["W"]], [np.empty_like(b) for b in params["b"]]
        more = [None] if "sample_weight" in model._backprop.__code__.co_varnames else []
        J, W, b = model._backprop(x, y, *more, activations, deltas, *grads)
        return J, {"W": W, "b": b}

    params = {
        "W": [rng.standard_normal((6, 5)), rng.standard_normal((5, 3))],
        "b": [rng.standard_normal(5), rng.standard_normal(3)],
    }
    check = check_gradients(cost_and_grad, params, x, one_hot)
    assert check, str(check)
    assert [block.name for block in check.blocks] == ["W.0", "W.1", "b.0", "b.1"]

    def no_decay(params, x, y):
        J, g = cost_and_grad(params, x, y)
        W = [g - 0.1 / len(x) * W for g, W in zip(g["W"], params["W"], strict=True)]
        return J, g | {"W": W}

    wrong = check_gradients(no_decay, params, x, one_hot)
    assert [(m.id, m.block) for m in wrong.mistakes] == [("decay", "W.0, W.1")]


def test_a_pytorch_module():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 3), torch.nn.Sigmoid(), torch.nn.Linear(3, 2)]
    module = torch.nn.Sequential(*layers).double()
    params = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}

    def cost_and_grad(params, x, labels, module):
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(torch.as_tensor(params[name]))
        module.zero_grad()
        x = torch.as_tensor(x, dtype=next(module.parameters()).dtype)
        J = torch.nn.functional.cross_entropy(module(x), torch.as_tensor(labels))
        J.backward()
        return J.item(), {name: p.grad.numpy() for name, p in module.named_parameters()}

    x, labels = RNG.random((9, 4)), RNG.integers(0, 2, 9)
    check = check_gradients(cost_and_grad, params, x, labels, module)
    assert check, str(check)
    assert {block.name for block in check.blocks} == {"0.weight", "0.bias", "2.weight", "2.bias"}

    single = check_gradients(cost_and_grad, params, x, labels, module.float())
    assert single, str(single)
    assert single.precision == "float32"

    def dropout(params, x, labels):
        return cost_and_grad(params, x, labels, torch.nn.Sequential(*layers, torch.nn.Dropout()))

    with pytest.raises(CheckError, match="not deterministic"):
        check_gradients(dropout, params, x, labels)


# --- what functions do to their arguments, and what they return ---


def test_what_a_function_writes_into_stays_as_it_was():
    pixels, theta = 255 * X, THETA[1:]

    def in_place(theta, X, y):
        X /= 255
        y -= 0.5
        a = np.tanh(X @ theta)
        e = a - y
        return float(e @ e) / 7, 2 * X.T @ (e * (1 - a * a)) / 7

    before = pixels.copy(), TARGET.copy()
    assert check_gradients(in_place, theta, pixels, TARGET)
    pair = (lambda *args: in_place(*args)[0], lambda *args: in_place(*args)[1])
    assert check_gradients(pair, theta, pixels, TARGET)
    np.testing.assert_array_equal(before[0], pixels)
    np.testing.assert_array_equal(before[1], TARGET)


@jax.custom_vjp
def squares(x):
    return x**2


squares.defvjp(lambda x: (x**2, x), lambda x, dy: (2 * x * dy,))
POINT = np.array([0.3, 0.7, -0.2])
REFUSED = {
    "three values": (lambda p: ((p**2).sum(), 2 * p, 0.5), POINT, "returns 3 values"),
    "a cost with more beside it": (
        jax.value_and_grad(lambda p: ((p**2).sum(), p), has_aux=True), POINT, "cost is a tuple",
    ),
    "no cost": (lambda p: (None, p), POINT, "cost is a NoneType"),
    "a complex cost": (lambda p: ((p**2).sum() + 0j, 2 * p), POINT, "must be a real number"),
    "a complex gradient": (lambda p: ((p**2).sum(), 2 * p + 1j), POINT, "theta is complex"),
    "a rule of many outputs": (squares, POINT, r"\(weights \* f\(x\)\)\.sum\(\)"),
    "the gradient of integers": (
        lambda p: ((p["W"] * p["b"]).sum(), {"W": p["b"] + 9, "b": p["W"]}),
        {"W": np.arange(3), "b": POINT}, "W is int64",
    ),
    "the gradient of complex numbers": (
        lambda p: ((abs(p["W"]) ** 2).sum() + p["b"].sum(), {"W": p["W"], "b": np.ones(3)}),
        {"W": 1j * POINT, "b": POINT}, "W is complex128",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_cost_and_gradient_is_refused_in_a_sentence(what):
    function, params, text = REFUSED[what]
    with pytest.raises(CheckError, match=text):
        check_gradients(function, params)


def test_a_rule_beside_integers_and_a_callback_in_order():
    @jax.custom_vjp
    def power(p):
        return (p["w"] ** p["n"]).sum()

    power.defvjp(
        lambda p: (power(p), p),
        lambda p, dJ: ({"w": dJ * p["n"] * p["w"] ** (p["n"] - 1), "n": None},),
    )
    assert check_gradients(power, {"w": POINT, "n": 3})

    result = jax.ShapeDtypeStruct((), np.float64)

    def sine(p):
        return jax.experimental.io_callback(np.sin, result, p[0], ordered=True)

    check = check_gradients((sine, lambda p: np.cos(p)), np.array([0.3]))
    assert check
    assert check.diff.keys() == {"finite_difference"}


def test_pytorch_tensors_are_taken_as_they_are():
    torch = pytest.importorskip("torch")

    def cost_and_grad(p):
        tensor = torch.tensor(p, requires_grad=True)
        J = (tensor**3).sum()
        J.backward()
        return J, tensor.grad

    assert check_gradients(cost_and_grad, POINT)
    assert not check_gradients(lambda p: (cost_and_grad(p)[0], 2 * p), POINT)


# --- scales and digits ---


def steep(p, x, y):
    return jnp.mean((jax.nn.sigmoid(x * p[0]) - y) ** 2)


@pytest.mark.parametrize("p", [1e-5, 1e-4, 1e-3])
def test_steps_follow_small_parameters(p):
    theta = np.array([p, 0.5])
    for log in (jnp.log, np.log):

        def J_and_gradient(t, log=log, factor=1.0):
            return -log(t).sum(), -factor / t

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of the logarithm of a longer step
            assert check_gradients(J_and_gradient, theta)
            wrong = check_gradients(partial(J_and_gradient, factor=1.01), theta)
        assert wrong.wrong == ("theta",)
        assert [mistake.id for mistake in wrong.mistakes] == ["factor"]
        assert not any("kink" in note for note in wrong.notes)


def test_inputs_that_nobody_scaled():
    salary = np.stack([np.ones(200), RNG.normal(5e4, 2e4, 200)], axis=1)
    bought = 1.0 * (RNG.random(200) < 0.5)

    def logistic(theta, X, y):
        z = X @ theta
        return jnp.mean(jnp.logaddexp(0, z) - y * z), X.T @ (jax.nn.sigmoid(z) - y) / len(y)

    check = check_gradients(logistic, np.array([-1.0, 2e-5]), salary, bought)
    assert check, str(check)
    assert check.diff["autograd"] < 1e-12
    assert check.diff["finite_difference"] < 1e-9


@pytest.mark.parametrize("factor", [1, 0.999, 0.9])
def test_a_cost_that_bends_within_a_step_is_no_kink(factor):
    x, y = 1e6 * RNG.standard_normal(20), RNG.standard_normal(20)

    def gradient(*args):
        return factor * jax.grad(steep)(*args)

    check = check_gradients((steep, gradient), np.array([7e-7]), x, y)
    assert bool(check) is (factor == 1), str(check)
    assert not any("kink" in note for note in check.notes)


@pytest.mark.parametrize("gradient", [jax.grad, lambda J: lambda *args: 1.01 * jax.grad(J)(*args)])
def test_a_part_in_float32_is_judged_by_the_digits_that_it_has(gradient):
    def J(w, X, y):
        a = jnp.tanh(X.astype(jnp.float32) @ w.astype(jnp.float32))
        J = jnp.mean((a - y.astype(jnp.float32)) ** 2)
        return J.astype(w.dtype) + 5e-3 * (w**2).sum()

    check = check_gradients((J, gradient(J)), THETA[1:], X, TARGET)
    assert bool(check) is (gradient is jax.grad), str(check)
    assert check.precision == "float32"


def test_an_accuracy_in_float32_beside_the_cost_changes_nothing():
    @jax.jit
    def both(w, X, y):
        a = jax.nn.sigmoid(X @ w)
        accuracy = ((a > 0.5) == (y > 0.5)).astype(jnp.float32) * a.astype(jnp.float32)
        return ((a - y) ** 2).sum(), accuracy.mean()

    def cost_and_grad(w, X, y):
        a = jax.nn.sigmoid(X @ w)
        return both(w, X, y)[0], X.T @ (2 * (a - y) * a * (1 - a))

    check = check_gradients(cost_and_grad, THETA[1:], X, TARGET)
    assert check, str(check)
    assert check.precision == "float64"


def test_a_gradient_by_hand_where_jax_has_none():
    @jax.custom_vjp
    def entropy(p):
        return jnp.where(p > 0, p * jnp.log(p), 0.0).sum()

    def derivative(p, dJ):
        return (dJ * jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1)) + 1, 0.0),)

    entropy.defvjp(lambda p: (entropy(p), p), derivative)
    check = check_gradients(entropy, np.array([-1.0, 0.5]))
    assert check
    assert "autograd" not in check.diff
    assert any("is not finite at these parameters" in note for note in check.notes)


def test_numbers_whose_squares_are_too_large():
    assert check_gradients(lambda p: (1e180 * (p**2).sum(), 2e180 * p), POINT)
    assert not check_gradients(lambda p: (1e180 * (p**2).sum(), 3e180 * p), POINT)


def test_numbers_that_others_hide_are_told():
    features = np.stack([np.linspace(-48, 37, 12) ** k for k in range(9)], axis=1)
    y, theta = 10 * RNG.standard_normal(12), RNG.standard_normal(9)

    def decay_forgotten(theta, F, y):
        e = F @ theta - y
        return (e @ e) / 24 + (theta[1:] @ theta[1:]) / 24, F.T @ e / 12

    check = check_gradients(decay_forgotten, theta, features, y)
    assert any("a mistake in these alone would not be seen" in note for note in check.notes)
    scaled = check_gradients(decay_forgotten, theta, features / abs(features).max(axis=0), y)
    assert not scaled
    assert not any("would not be seen" in note for note in scaled.notes)
