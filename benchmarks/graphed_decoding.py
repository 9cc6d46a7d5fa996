"""Decoding with a static cache as one CUDA graph: Python starts the kernels of a token at once, not one by one.

Transformers compiles the same steps by `torch.compile`, but not for models quantised by bitsandbytes, and TRL forbids
it. A graph is recorded from the kernels as they run, whoever wrote them. benchmarks/gpu.py measures whether that is
right and how much it saves; it is not part of the package yet, since nobody has run it on a GPU.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import StaticCache


Call = Callable[[], Any]


def record_cuda_graph(call: Call) -> Call:
    """Record what a call does on the GPU, without doing it. What comes back does it, into the same output."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = call()

    def replay() -> Any:
        graph.replay()
        return output

    return replay


class GraphedForward:
    """
    The forward pass of a model for `generate` with a static cache, whose steps of one token are one recorded graph.

    A graph reads and writes the same memory each time. The cache stays where it is and counts its tokens on the GPU;
    the other inputs are copied to where the first ones were. Everything else, prompts above all, runs as it did.

    Args:
        forward (`Callable`):
            The model's own.
        record (`Callable`, *optional*):
            What makes a replay of a call. Without a GPU: `lambda call: call`.
    """

    def __init__(self, forward: Callable[..., Any], record: Callable[[Call], Call] = record_cuda_graph) -> None:
        self.forward, self.record = forward, record
        self.__signature__ = inspect.signature(forward)  # `generate` asks it for what the model takes
        self.cache: StaticCache | None = None
        self.inputs: dict[str, Any] = {}
        self.replay: Call | None = None

    def __call__(self, **inputs: Any) -> Any:
        cache = inputs.get("cache", inputs.get("past_key_values"))  # renamed between transformers 5.17 and 5.24
        if not isinstance(cache, StaticCache) or inputs["input_ids"].shape[1] > 1:
            return self.forward(**inputs)
        if cache is not self.cache:
            # The first token is computed as usual: what is made on first use must not be made inside a recording.
            self.cache, self.replay = cache, None
            return self.forward(**inputs)
        if self.replay is None:
            self.inputs = {name: _copied(value) for name, value in inputs.items()}
            self.replay = self.record(lambda: self.forward(**self.inputs))
        for name, value in inputs.items():
            _copy_into(self.inputs[name], value)
        return self.replay()


def _copied(value: Any) -> Any:
    if isinstance(value, dict):  # masks by kind of layer
        return {name: _copied(inner) for name, inner in value.items()}
    return value.clone() if isinstance(value, torch.Tensor) else value


def _copy_into(there: Any, value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _copy_into(there[name], inner)
    elif isinstance(value, torch.Tensor):
        there.copy_(value)


@contextmanager
def graphed_decoding(model: torch.nn.Module, record: Callable[[Call], Call] = record_cuda_graph) -> Iterator[None]:
    """Let `generate` of a model, or of the one in a `PeftModel`, replay its steps; afterwards all is as before."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = inner.__dict__.get("forward")  # accelerate puts one there for some models
    inner.forward = GraphedForward(inner.forward, record)
    try:
        yield
    finally:  # and the graph's memory is free again
        del inner.forward
        if own is not None:
            inner.forward = own
