"""ONNX graphs, read without running them: what a graph asks for, and refusing what it must not have.

The file is only parsed. It names its operators (those of the standard alone are run) and the files that hold its
weights (those in its own folder alone are read); neither is believed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx

from service.errors import InvalidModelId, ModelNotFound, ModelRefused
from service.predictions.models.folder import file_inside

STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class Graph:
    """What is known of a graph before it runs."""

    input_name: str
    output_name: str
    batch: int | None  # images a run; None: any
    half: bool  # the input is float16
    probabilities: bool  # its last step is a softmax
    parameters: int
    sha256: str  # over the graph and the files of its weights


def read_graph(path: Path, model: str) -> Graph:
    """Return what a graph says; raise ModelRefused for custom operators, data elsewhere, or another form."""
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:  # whatever the parser says of bytes that are no graph
        raise ModelRefused(f"{model}: expected an ONNX graph, got a file that isn't one or is truncated") from error
    graphs = [*_graphs(proto.graph), *(each for function in proto.functions for each in _graphs(function))]
    _refuse_custom(model, proto, [node for graph in graphs for node in graph.node])
    tensors = [tensor for graph in graphs for tensor in _tensors(graph)]
    files = _files(model, path, tensors)
    return _graph(model, proto, tensors, _digest([path, *files]))


def _graph(model: str, proto: Any, tensors: list[Any], sha256: str) -> Graph:
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in stored]
    outputs = list(proto.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelRefused(
            f"{model}: expected a graph with one input and one output, got {len(inputs)} and {len(outputs)}"
        )
    kind, taken = inputs[0].type.tensor_type.elem_type, _shape(inputs[0])
    given = _shape(outputs[0])
    if kind not in FLOATS or len(taken) != 4 or taken[1] not in (3, None):
        raise ModelRefused(f"{model}: expected an input of floats (N, 3, height, width), got {taken} of type {kind}")
    if given and len(given) != 2:
        raise ModelRefused(f"{model}: expected an output (N, classes), got {given}")
    last = [node for node in proto.graph.node if outputs[0].name in node.output]
    return Graph(
        input_name=inputs[0].name,
        output_name=outputs[0].name,
        batch=taken[0],
        half=kind == onnx.TensorProto.FLOAT16,
        probabilities=bool(last) and last[0].op_type == "Softmax",
        parameters=sum(_size(tensor) for tensor in tensors),
        sha256=sha256,
    )


def _refuse_custom(model: str, proto: Any, nodes: list[Any]) -> None:
    own = {(function.domain, function.name) for function in proto.functions}
    custom = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in nodes
            if node.domain not in STANDARD and (node.domain, node.op_type) not in own
        }
    )
    if custom:
        raise ModelRefused(
            f"{model}: expected operators of the ONNX standard, got {', '.join(custom):.200}: export the model "
            "without custom operators and without an optimizer for one runtime"
        )


def _files(model: str, path: Path, tensors: list[Any]) -> list[Path]:
    """Return the real paths of the files that hold weights, each in the graph's own folder."""
    found: set[Path] = set()
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            found.add(_beside(model, path.parent, location))
    return sorted(found)


def _beside(model: str, folder: Path, location: str) -> Path:
    """Return the real path of a file of weights in the graph's own folder; raise ModelRefused for any other."""
    asked = PurePosixPath(location)
    leads_out = ModelRefused(
        f"{model}: expected its weights in its own folder, got {location!r:.80}, which leads out of it"
    )
    if not location or "\\" in location or asked.is_absolute():
        raise leads_out
    try:
        return file_inside(folder, asked)
    except InvalidModelId as error:
        raise leads_out from error
    except ModelNotFound as error:
        raise ModelRefused(f"{model}: expected its weights in {location!r:.80} beside it, got no such file") from error


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph or function and every graph inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the tensors that a graph or function stores itself: initializers and its nodes' constants."""
    sparse = list(getattr(graph, "sparse_initializer", ()))
    yield from getattr(graph, "initializer", ())
    for attribute in (each for node in graph.node for each in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for each in sparse:
        yield from (each.values, each.indices)


def _shape(value: Any) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _size(tensor: Any) -> int:
    size = 1
    for dim in tensor.dims:
        size *= max(int(dim), 0)
    return size if tensor.dims else 0
