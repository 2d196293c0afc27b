"""Checks of ONNX graphs. A graph is parsed, but not run.

Only operators of the ONNX standard and files in the folder of the graph are accepted. All values in the file are
untrusted.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from errata.errors import InvalidModelId, ModelNotFound, ModelRefused
from google.protobuf.message import Message
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from service.predictions.models.model_folder import resolve_file

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# Domains in which some build of onnxruntime implements operators. Their subdomains are included.
RUNTIME_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch")
MAX_OUTPUTS = 100_000  # maximum number of classes of a model; ImageNet-21k has 21,841
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,200}")  # name of a weights file in a repository
# Operators whose output has the values of the first input: copied, converted, or in another shape.
VALUE_PRESERVING = frozenset({"Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class OnnxGraph:
    """The properties of a graph that are known before it runs."""

    input_name: str
    output_name: str
    batch: int | None  # number of images per run; None: any number
    is_half: bool  # whether the input is float16
    ends_with_softmax: bool
    parameters: int
    sha256: str  # digest of the graph and its weights files


def read_graph(path: Path, model: str) -> OnnxGraph:
    """Return the properties of a graph.

    Raises:
        ModelRefused: The file is not a graph, has custom operators, has weights in other folders, or does not have the
            input and output of an image classifier.
    """
    proto = _read_proto(path, model)
    _check_function_domains(model, proto)
    _check_operators(model, proto, list(_find_messages(proto, onnx.NodeProto)))
    tensors = list(_find_messages(proto, onnx.TensorProto))
    files = _weights_files(model, path, tensors)
    return _describe_graph(model, proto, tensors, _digest([path, *files]))


def external_files(path: Path, model: str) -> list[str]:
    """Return the locations of the weights files of a graph, relative to its folder.

    Raises:
        ModelRefused: The file is not a graph, or a location is outside its folder.
    """
    locations = set(_external_locations(model, _find_messages(_read_proto(path, model), onnx.TensorProto)))
    for location in locations:
        if not _FILE_NAME.fullmatch(location):
            raise _outside(model, location)
    return sorted(locations)


def _describe_graph(model: str, proto: Any, tensors: list[Any], sha256: str) -> OnnxGraph:
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in initializers]
    outputs = list(proto.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelRefused(
            f"{model}: The graph has {len(inputs)} inputs and {len(outputs)} outputs. Expected one of each. Export the "
            "classifier alone."
        )
    input_type, input_shape = inputs[0].type.tensor_type.elem_type, _shape(inputs[0])
    output_shape = _shape(outputs[0])
    if input_type not in FLOAT_TYPES or len(input_shape) != 4 or input_shape[1] not in (3, None):
        raise ModelRefused(
            f"{model}: The input has shape {input_shape} and type {input_type}. Expected floats of shape (N, 3, "
            "height, width). Export the classifier with such an input."
        )
    if output_shape and len(output_shape) != 2:
        raise ModelRefused(
            f"{model}: The output has shape {output_shape}. Expected (N, classes). Export the classifier alone."
        )
    if output_shape and output_shape[1] is not None:
        check_output_count(model, output_shape[1])
    return OnnxGraph(
        input_name=inputs[0].name,
        output_name=outputs[0].name,
        batch=input_shape[0],
        is_half=input_type == onnx.TensorProto.FLOAT16,
        ends_with_softmax=_ends_with_softmax(proto.graph),
        parameters=sum(_size(tensor) for tensor in (*tensors, *_find_messages(proto, onnx.SparseTensorProto))),
        sha256=sha256,
    )


def _ends_with_softmax(graph: Any) -> bool:
    """Return whether the last node is a Softmax, apart from nodes that keep its values."""
    nodes = {name: node for node in graph.node for name in node.output[:1]}  # the second output of Dropout is a mask
    node = nodes.pop(graph.output[0].name, None)
    while node is not None and node.op_type in VALUE_PRESERVING and node.input:
        node = nodes.pop(node.input[0], None)  # each node once: a damaged graph can have a cycle
    return node is not None and node.op_type == "Softmax"


def _read_proto(path: Path, model: str) -> Any:
    try:
        return onnx.load(path, format="protobuf", load_external_data=False)  # protobuf for any suffix
    except Exception as error:  # the parser may raise any error for a damaged file
        raise ModelRefused(
            f"{model}: The file is not an ONNX graph, or is truncated. Export the model again."
        ) from error


def check_output_count(model: str, outputs: int) -> None:
    """Raise ModelRefused if a graph has more outputs per image than any classifier."""
    if outputs > MAX_OUTPUTS:
        raise ModelRefused(f"{model} has {outputs:,} outputs for an image. Expected at most {MAX_OUTPUTS:,}.")


@cache
def runtime_domains() -> frozenset[str]:
    """Return the domains in which the installed onnxruntime has operators."""
    schemas = getattr(runtime, "get_all_operator_schema", list)  # undocumented; if missing, only RUNTIME_DOMAINS apply
    return frozenset(schema.domain for schema in schemas())


def _check_function_domains(model: str, proto: Any) -> None:
    """Raise ModelRefused for functions in domains of the runtime, because its own operators could replace them."""
    conflicts = sorted(
        {
            f"{function.domain}::{function.name}"
            for function in proto.functions
            if function.domain in runtime_domains() | STANDARD_DOMAINS
            or f"{function.domain}.".startswith(tuple(f"{domain}." for domain in RUNTIME_DOMAINS))
        }
    )
    if conflicts:
        raise ModelRefused(
            f"{model} defines functions in domains of the runtime: {', '.join(conflicts):.200}. Export the model with "
            "functions in another domain, or inline them (onnx.inliner)."
        )


def _check_operators(model: str, proto: Any, nodes: list[Any]) -> None:
    functions = {(function.domain, function.name) for function in proto.functions}
    custom = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in nodes
            if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in functions
        }
    )
    if custom:
        raise ModelRefused(
            f"{model}: The graph has operators outside the ONNX standard: {', '.join(custom):.200}. Export the model "
            "without custom operators and without an optimizer for one runtime."
        )


def _weights_files(model: str, path: Path, tensors: list[Any]) -> list[Path]:
    """Return the real paths of the external weights files; raise ModelRefused for one outside the graph's folder."""
    return sorted({_resolve_beside(model, path.parent, location) for location in _external_locations(model, tensors)})


def _external_locations(model: str, tensors: Iterable[Any]) -> Iterator[str]:
    """Yield the locations of external data; raise ModelRefused for repeated keys, which parsers treat differently."""
    for tensor in tensors:
        if not tensor.external_data and tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        keys = [entry.key for entry in tensor.external_data]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ModelRefused(
                f"{model}: Tensor {tensor.name!r:.80} has several entries {repeated[0]!r:.40} in its external data. "
                "Export the model again."
            )
        yield next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _resolve_beside(model: str, folder: Path, location: str) -> Path:
    """Return the real path of a weights file in the folder of the graph; raise ModelRefused for any other location."""
    path = PurePosixPath(location)
    is_outside = _outside(model, location)
    if not location or "\\" in location or "*" in location or path.is_absolute():  # "*/" means an address in memory
        raise is_outside
    try:
        return resolve_file(folder, path)
    except InvalidModelId as error:
        raise is_outside from error
    except ModelNotFound as error:
        raise ModelRefused(
            f"{model}: The weights file {location!r:.80} is missing. Copy it to the folder of the graph."
        ) from error


def _outside(model: str, location: str) -> ModelRefused:
    return ModelRefused(
        f"{model}: The weights file {location!r:.80} is outside the folder of the graph. Save the weights beside the "
        "graph."
    )


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _find_messages(message: Message, kind: type[Any]) -> Iterator[Any]:
    """Yield every protobuf message of a type, at any depth (in attributes, functions, training info, and so on)."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                if isinstance(inner, kind):
                    yield inner
                yield from _find_messages(inner, kind)


def _shape(value: Any) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _size(tensor: Any) -> int:
    size = 1
    for dim in tensor.dims:
        size *= max(int(dim), 0)
    return size if tensor.dims else 0
