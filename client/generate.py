"""Generate errata/v1 from errata/v1/errata.proto (`make proto`, and every build of the client)."""

import shutil
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

CLIENT = Path(__file__).resolve().parent
PROTO = "errata/v1/errata.proto"
PROTO_FOLDERS = (CLIENT / "protos", CLIENT.parent / "protos")  # in a source distribution, or in a checkout


def generate() -> None:
    """Compile the proto into client/errata/v1; raise SystemExit if protoc rejects it."""
    protos = next(folder for folder in PROTO_FOLDERS if (folder / PROTO).is_file())
    package = CLIENT / "errata" / "v1"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir()
    (package / "__init__.py").write_text(f'"""Generated from {PROTO}: do not edit."""\n')
    code = protoc.main(
        [
            "protoc",
            f"-I{protos}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={CLIENT}",
            f"--pyi_out={CLIENT}",
            f"--grpc_python_out={CLIENT}",
            PROTO,
        ]
    )
    if code != 0:
        raise SystemExit(f"protoc exited with code {code}; see its messages above")


if __name__ == "__main__":
    generate()
