"""Every plot, in one visual language.

Colours are Okabe and Ito's (2008), which people with any colour vision can tell apart; lines
also differ in marker, so that a print in grey can be read. Figures are made without pyplot: no
window opens and the importing program's settings stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from jaxlab.wording import power_of_ten

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#666666",
)  # fmt: skip
MARKERS = "osD^v<>"
# Small images side by side.
COLUMNS = 10
STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, SKY, RED]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.alpha": 0.3,
    "image.cmap": "gray_r",
    "legend.frameon": False,
    "lines.markersize": 5,
    # The same figure gives the same bytes.
    "svg.hashsalt": "jaxlab",
}


Numbers = Sequence[float] | Sequence[int] | np.ndarray


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def in_our_style(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        figure.set_layout_engine("constrained")
        return figure

    return in_our_style


def save(figure: Figure, path: Path) -> None:
    """Writes one figure in the format of the path's suffix. No date: same run, same bytes."""
    with matplotlib.rc_context(STYLE):
        # Once: matplotlib would find the layout anew for each format, by drawing all of it.
        if layout := figure.get_layout_engine():
            layout.execute(figure)
            figure.set_layout_engine(None)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)


@_styled
def differences(checks: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Relative differences by block: checks is network → block → witness → difference."""
    names = {"finite_difference": "central differences", "complex_step": "complex step",
             "autograd": "jax.grad"}  # fmt: skip
    figure = Figure(figsize=(3.4 * len(checks) + 1, 3.2))
    axes = figure.subplots(1, len(checks), sharey=True, squeeze=False)[0]
    every = [v for blocks in checks.values() for block in blocks.values() for v in block.values()]
    largest = max((v for v in every if np.isfinite(v)), default=0)
    for ax, (network, blocks) in zip(axes, checks.items(), strict=True):
        where = np.arange(len(blocks))
        for i, (witness, label) in enumerate(names.items()):
            # A logarithmic axis has no zero: exact agreement is drawn at its foot.
            values = [max(block[witness], 1e-18) for block in blocks.values()]
            ax.plot(where + (i - 1) * 0.12, values, MARKERS[i], label=label)
        ax.axhline(np.finfo(np.float64).eps, color=GREY, lw=0.8, ls=":")
        ax.set(yscale="log", xticks=where, xticklabels=list(blocks), xlim=(-0.5, len(blocks) - 0.5))
        ax.set(title=network, xlabel="block of parameters", ylim=(1e-18, max(1e-6, 10 * largest)))
        _powers_of_ten(ax.yaxis)
    axes[0].set_ylabel("‖g − n‖ / ‖g + n‖")
    axes[0].text(-0.45, 7e-16, "float64 rounding", color=GREY, fontsize=8)
    axes[-1].legend(loc="upper right", fontsize=8)
    return figure


@_styled
def errors_against_step(steps: Numbers, central: Numbers, exact: Numbers, chosen: float) -> Figure:
    """How far central differences and the complex step are from the gradient, against the step."""
    figure = Figure(figsize=(5.4, 3.4))
    ax = figure.subplots()
    ax.loglog(steps, central, "o-", label="central differences")
    ax.loglog(steps, np.maximum(exact, 1e-17), "s-", label="complex step")
    _powers_of_ten(ax.xaxis)
    _powers_of_ten(ax.yaxis)
    ax.axvline(chosen, color=GREY, lw=0.8, ls=":")
    ax.text(chosen * 1.2, 1e-3, "step used", color=GREY, fontsize=8)
    ax.set(xlabel="step h", ylabel="‖g − n‖ / ‖g + n‖", title="Error of the numerical derivative")
    ax.legend(loc="center left")
    return figure


@_styled
def learning_curves(
    costs: np.ndarray,
    accuracies: Mapping[str, np.ndarray],
    at: Numbers,
    step: str,
    *,
    costs_at: Numbers | None = None,
) -> Figure:
    """J and accuracies against training: (networks, steps), and (networks, len(at)) at some.

    costs_at: where J was recorded; at each step if not given.
    """
    figure = Figure(figsize=(8.4, 3.2))
    left, right = figure.subplots(1, 2)
    costs_at = np.arange(1, costs.shape[1] + 1) if costs_at is None else np.asarray(costs_at)
    _band(left, costs_at, costs, BLUE, "J", "-")
    left.set(xlabel=step, ylabel="cost J", title="Training set")
    _log_scale(left)
    for (name, values), colour, line in zip(
        accuracies.items(), (BLUE, RED), ("-", "--"), strict=False
    ):
        _band(right, np.asarray(at), 100 * values, colour, name, line)
    # The first of many steps would flatten all that follows.
    first = min(2, len(at) // 8)
    low = 100 * min(float(values[:, first:].min()) for values in accuracies.values())
    room = 0.05 * (100 - low) + 0.1
    right.set(xlabel=step, ylabel="accuracy, %", ylim=(low - room, 100 + room / 2))
    networks = costs.shape[0]
    right.set_title(f"Mean and range of {networks} networks" if networks > 1 else "One network")
    right.legend(loc="lower right")
    return figure


@_styled
def confusion(counts: np.ndarray) -> Figure:
    """Counts of each digit (row) taken for each digit (column); the diagonal is right."""
    figure = Figure(figsize=(5, 4.6))
    ax = figure.subplots()
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    ax.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(wrong.max(), 1) * 2)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            weight = "bold" if row == column else "normal"
            ax.text(column, row, str(count), ha="center", va="center", fontsize=8, weight=weight)
    digits = range(len(counts))
    ax.set(xticks=digits, yticks=digits, xlabel="taken for", ylabel="digit")
    ax.set_title("Test images; mistakes are shaded")
    ax.grid(False)
    return figure


@_styled
def digits(images: np.ndarray, titles: Sequence[str], side: int) -> Figure:
    """Images with a title each, (n, side²) in [0, 1]."""
    if not len(images):
        figure = Figure(figsize=(4, 1))
        figure.text(0.5, 0.5, "none", ha="center", va="center")
        return figure
    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(0.85 * COLUMNS, 1.1 * rows))
    ax = figure.subplots()
    corners = _mosaic(ax, images.reshape(-1, side, side), COLUMNS, above=0.3)
    for (top, left), title in zip(corners, titles, strict=False):
        ax.text(left + side / 2, top - 0.08 * side, title, fontsize=8, ha="center")
    return figure


@_styled
def hidden_units(W1: np.ndarray, side: int, what: str = "hidden units") -> Figure:
    """What each hidden unit looks for: its weights from every pixel, readable in grey."""
    shown = W1[: 4 * COLUMNS]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(0.85 * COLUMNS, 0.85 * rows + 0.4))
    most_extreme = np.abs(shown).max(axis=1, keepdims=True)
    weights = shown / np.where(most_extreme == 0, 1, most_extreme)
    _mosaic(figure.subplots(), weights.reshape(-1, side, side), COLUMNS, cmap="gray", vmin=-1.0)
    which = f"all {len(W1)}" if len(shown) == len(W1) else f"{len(shown)} of {len(W1)}"
    figure.suptitle(f"Weights of {which} {what}: white excites, black inhibits", fontsize=9)
    return figure


@_styled
def reconstructions(rows: Mapping[str, np.ndarray], side: int) -> Figure:
    """Originals above their reconstructions: name → (n, side²)."""
    n = len(next(iter(rows.values())))
    figure = Figure(figsize=(0.85 * n + 1.2, 0.9 * len(rows)))
    ax = figure.subplots()
    corners = _mosaic(ax, np.concatenate([*rows.values()]).reshape(-1, side, side), n)
    for name, (top, left) in zip(rows, corners[::n], strict=True):
        ax.text(left - 0.15 * side, top + side / 2, name, ha="right", va="center")
    return figure


@_styled
def lines(
    x: Numbers,
    curves: Mapping[str, Numbers],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    intervals: Mapping[str, Sequence[Sequence[float]]] | None = None,
    level: str | None = None,
    chosen: tuple[float | int, str] | None = None,
    log: str = "",
) -> Figure:
    """Curves over one axis, with 95 % intervals where given and the chosen value marked.

    level: of a curve that does not depend on x, drawn as a line without markers, its interval as a
    band.
    """
    figure = Figure(figsize=(6, 3.8))
    ax = figure.subplots()
    colours = (BLUE, RED, GREEN, PURPLE, ORANGE)
    for (name, values), colour, marker in zip(curves.items(), colours, MARKERS, strict=False):
        if name == level:
            ax.plot(x, values, "-", color=colour, label=name)
            if intervals and name in intervals:
                ax.fill_between(x, *np.array(intervals[name]).T, color=colour, alpha=0.15, lw=0)
        elif intervals and name in intervals:
            low, high = np.array(intervals[name]).T
            spread = [np.array(values) - low, high - np.array(values)]
            ax.errorbar(x, values, np.maximum(spread, 0), fmt=f"{marker}-", color=colour, capsize=3,
                        label=name)  # fmt: skip
        else:
            ax.plot(x, values, f"{marker}-", color=colour, label=name)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        _log_scale(ax)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
    if chosen:
        ax.axvline(chosen[0], color=GREY, lw=0.9, ls=":")
        ax.annotate(
            chosen[1], (chosen[0], 1.01), xycoords=("data", "axes fraction"), ha="center",
            fontsize=8, color=GREY,
        )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, pad=16 if chosen else None)  # above what is written of the chosen value
    if len(curves) > 1:
        _name_curves(ax, [(name, x[-1], values[-1]) for name, values in curves.items()], colours)
    return figure


@_styled
def growth(panels: Mapping[str, tuple[str, Sequence[int], Sequence[float]]]) -> Figure:
    """Milliseconds against size, both logarithmic: panels is title → (xlabel, sizes, seconds).

    A dotted line has slope 1 through the last point: twice the work, twice the time.
    """
    figure = Figure(figsize=(8.4, 5.6))
    axes = figure.subplots(2, -(-len(panels) // 2), squeeze=False).ravel()
    for ax, (title, (xlabel, sizes, seconds)) in zip(axes, panels.items(), strict=False):
        n, ms = np.array(sizes), 1e3 * np.array(seconds)
        ax.plot(n, ms[-1] * n / n[-1], ":", color=GREY, label="proportional")
        ax.plot(n, ms, "o-", color=BLUE, label="measured")
        ax.set(xscale="log", xlabel=xlabel, ylabel="milliseconds", title=title)
        ax.set_xticks(n, [f"{value:,}" for value in n])
        ax.xaxis.set_minor_locator(NullLocator())
        _log_scale(ax)
    axes[0].legend()
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def _name_curves(
    ax: Axes, ends: list[tuple[str, float | int, float]], colours: Sequence[str]
) -> None:
    """Names each curve beside its end, (name, x, y), or in a legend where they would collide."""
    heights = sorted(ax.transAxes.inverted().transform(ax.transData.transform(end[1:]))[1]
                     for end in ends)  # fmt: skip
    if not np.isfinite(heights).all() or min(np.diff(heights), default=1.0) < 0.08:
        ax.legend()
        return
    for (name, x, y), colour in zip(ends, colours, strict=False):
        ax.annotate(
            name, (x, y), xytext=(8, 0), textcoords="offset points", va="center", color=colour,
            fontsize=9, annotation_clip=False,
        )  # fmt: skip


def _band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, name: str, line: str) -> None:
    # A line of one point would not be seen.
    marker = "o" if len(x) < 8 else ""
    ax.plot(x, values.mean(axis=0), line + marker, color=colour, label=name)
    ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, lw=0)


def _powers_of_ten(axis: Axis) -> None:
    """Names a logarithmic axis's decades, 10⁻³, in plain characters: for its own labels matplotlib
    starts a parser of formulas, for half a second."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(round(np.log10(value)))))
    axis.set_minor_formatter(NullFormatter())


def _log_scale(ax: Axes) -> None:
    """A logarithmic axis that names 1, 2 and 5 of each decade in plain numbers, of few all digits.

    Left linear where nothing can be drawn on it: training that diverged leaves NaN.
    """
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
    if not any((np.isfinite(values) & (values > 0)).any() for values in drawn):
        return
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    named = [n * 10.0**e for e in exponents for n in (1, 2, 5)]
    several = sum(low <= value <= high for value in named) > 2
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if several else range(1, 10)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _mosaic(
    ax: Axes,
    images: np.ndarray,
    columns: int,
    *,
    above: float = 0.0,
    cmap: str = "gray_r",
    vmin: float = 0.0,
) -> list[tuple[int, int]]:
    """Shows images (n, side, side) in [vmin, 1] in rows; returns each one's top and left pixel.

    In one picture: matplotlib would take seconds for axes of their own. above: what to leave free
    over each, as a share of its side.
    """
    side = images.shape[1]
    gap, free = max(round(side / 8), 1), round(above * side)
    height, width = free + side + gap, side + gap
    # A pixel of margin on each side: the outer images have the edges that the inner ones have.
    corners = [
        (1 + i // columns * height + free, 1 + i % columns * width) for i in range(len(images))
    ]
    whole = np.full(
        (-(-len(images) // columns) * height - gap + 2, columns * width - gap + 2), np.nan
    )
    for (top, left), image in zip(corners, images, strict=True):
        whole[top : top + side, left : left + side] = image
    ax.imshow(whole, cmap=cmap, vmin=vmin, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return corners
