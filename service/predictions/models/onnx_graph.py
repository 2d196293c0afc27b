"""ONNX graphs, read without running them: what a graph asks for, and refusing what it must not have.

The file is only parsed. It names its operators (those of the standard alone are run) and the files that hold its
weights (those in its own folder alone are read); neither is believed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from google.protobuf.message import Message
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from service.predictions.models.model_folder import resolve_file

STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# families of domains in which some build of onnxruntime implements operators itself
RUNTIME_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch")
MAX_OUTPUTS = 100_000  # classes of a model; ImageNet-21k has 21,841
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class OnnxGraph:
    """What is known of a graph before it runs."""

    input_name: str
    output_name: str
    batch: int | None  # images a run; None: any
    half: bool  # the input is float16
    probabilities: bool  # its last step is a softmax
    parameters: int
    sha256: str  # over the graph and the files of its weights


def read_graph(path: Path, model: str) -> OnnxGraph:
    """Return what a graph says; raise ModelRefused for custom operators, data elsewhere, or another form."""
    try:
        proto = onnx.load(path, format="protobuf", load_external_data=False)  # whatever its suffix says
    except Exception as error:  # whatever the parser says of bytes that are no graph
        raise ModelRefused(f"{model}: expected an ONNX graph, got a file that isn't one or is truncated") from error
    _refuse_shadowing(model, proto)
    _refuse_custom(model, proto, list(_find(proto, onnx.NodeProto)))
    tensors = list(_find(proto, onnx.TensorProto))
    files = _files(model, path, tensors)
    return _graph(model, proto, tensors, _digest([path, *files]))


def _graph(model: str, proto: Any, tensors: list[Any], sha256: str) -> OnnxGraph:
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [item for item in proto.graph.input if item.name not in stored]
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
    if given and given[1] is not None:
        check_output_count(model, given[1])
    last = [node for node in proto.graph.node if outputs[0].name in node.output]
    return OnnxGraph(
        input_name=inputs[0].name,
        output_name=outputs[0].name,
        batch=taken[0],
        half=kind == onnx.TensorProto.FLOAT16,
        probabilities=bool(last) and last[0].op_type == "Softmax",
        parameters=sum(_size(tensor) for tensor in (*tensors, *_find(proto, onnx.SparseTensorProto))),
        sha256=sha256,
    )


def check_output_count(model: str, outputs: int) -> None:
    """Raise ModelRefused if a graph has more outputs for an image than any classifier has."""
    if outputs > MAX_OUTPUTS:
        raise ModelRefused(f"{model} has {outputs:,} outputs for an image. Expected at most {MAX_OUTPUTS:,}.")


@cache
def runtime_domains() -> frozenset[str]:
    """Return the domains in which the installed onnxruntime has operators."""
    schemas = getattr(runtime, "get_all_operator_schema", list)  # not documented: RUNTIME_FAMILIES hold without it
    return frozenset(schema.domain for schema in schemas())


def _refuse_shadowing(model: str, proto: Any) -> None:
    """Refuse local functions under names that the runtime may implement: it might run either of the two."""
    shadowing = sorted(
        {
            f"{function.domain}::{function.name}"
            for function in proto.functions
            if function.domain in runtime_domains() | STANDARD
            or f"{function.domain}.".startswith(tuple(f"{family}." for family in RUNTIME_DOMAINS))
        }
    )
    if shadowing:
        raise ModelRefused(
            f"{model} defines functions in domains of the runtime: {', '.join(shadowing):.200}. Export the model with "
            "functions in a domain of its own, or inline them (onnx.inliner)."
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
    result: set[Path] = set()
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            result.add(_beside(model, path.parent, _location(model, tensor)))
    return sorted(result)


def _location(model: str, tensor: Any) -> str:
    """Return where the values of a tensor lie; refuse several answers: parsers differ in which one they take."""
    keys = [entry.key for entry in tensor.external_data]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ModelRefused(
            f"{model}: tensor {tensor.name!r:.80} has several entries {twice[0]!r:.40} in its external data. Export "
            "the model again."
        )
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _beside(model: str, folder: Path, location: str) -> Path:
    """Return the real path of a file of weights in the graph's own folder; raise ModelRefused for any other."""
    asked = PurePosixPath(location)
    leads_out = ModelRefused(
        f"{model}: expected its weights in its own folder, got {location!r:.80}, which leads out of it"
    )
    if not location or "\\" in location or "*" in location or asked.is_absolute():  # "*/": an address in memory
        raise leads_out
    try:
        return resolve_file(folder, asked)
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


def _find(message: Message, kind: type[Any]) -> Iterator[Any]:
    """Yield every message of a kind, wherever a graph can hold one: attributes, their defaults, functions, training."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                if isinstance(inner, kind):
                    yield inner
                yield from _find(inner, kind)


def _shape(value: Any) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _size(tensor: Any) -> int:
    size = 1
    for dim in tensor.dims:
        size *= max(int(dim), 0)
    return size if tensor.dims else 0
