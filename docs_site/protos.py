"""The protos of the API as a descriptor set."""

import tempfile
from importlib.resources import files
from pathlib import Path

from google import api
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

PACKAGE = "errata.v1"
PROTOS = Path(__file__).resolve().parents[1] / "protos"
GOOGLE_PROTOS = Path(next(iter(api.__path__))).parents[1]  # googleapis-common-protos has google/api/*.proto


def describe_protos(protos: Path = PROTOS, with_comments: bool = False) -> FileDescriptorSet:
    """Compile the protos of a folder; return their descriptors and those of their imports.

    Args:
        protos: The folder.
        with_comments: Whether to include the positions and comments of the source.

    Raises:
        RuntimeError: protoc rejects a proto.
    """
    names = sorted(str(path.relative_to(protos)) for path in protos.glob("errata/v1/*.proto"))
    includes = [f"-I{folder}" for folder in (protos, GOOGLE_PROTOS, files("grpc_tools") / "_proto")]
    options = ["--include_imports", *(["--include_source_info"] if with_comments else [])]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "errata.binpb"
        code = protoc.main(["protoc", *includes, *options, f"--descriptor_set_out={output}", *names])
        if code != 0:
            raise RuntimeError(f"protoc exited with code {code}. See its messages above.")
        return FileDescriptorSet.FromString(output.read_bytes())
