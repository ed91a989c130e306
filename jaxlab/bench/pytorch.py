"""PyTorch where JAX computes: on the GPU, where that is."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def on_gpu() -> bool:
    """Whether JAX computes on a GPU that PyTorch can use as well."""
    import torch

    return jax.default_backend() == "gpu" and torch.cuda.is_available()


def device() -> str:
    return "cuda" if on_gpu() else "cpu"


def tensor(array: Any) -> Any:
    """A tensor on PyTorch's device with the array's numbers and dtype.

    On a GPU its float32 products take TF32 from then on, as XLA's do.
    """
    import torch

    if on_gpu():
        torch.set_float32_matmul_precision("high")
    return torch.tensor(np.asarray(array), device=device())


def done() -> None:
    """Waits for the GPU; on a CPU everything is done when a call returns."""
    import torch

    if on_gpu():
        torch.cuda.synchronize()


def as_graph(step: Callable[[], None]) -> Callable[[], None]:
    """The step as one CUDA graph, which starts its kernels without Python.

    It is done three times first, so what it changes has to be put back. It may wait for nothing.
    """
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: Callable[[], None] = step) -> None:
        # A graph knows addresses alone: the tensors that the step uses must live as long.
        graph.replay()

    return replay
