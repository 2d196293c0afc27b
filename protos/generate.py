"""Generate service/pb from errata/v1/errata.proto (`make proto`, and every build).

The proto keeps its own name, `errata/v1/errata.proto`, so that a user's stubs can live beside ours in one process;
the modules are copied to service/pb and the one import line between them is rewritten.
"""

import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
PACKAGE = PROTOS.parent / "service" / "pb"
MODULES = ("errata_pb2.py", "errata_pb2.pyi", "errata_pb2_grpc.py")


def generate(protos: Path, package: Path) -> None:
    """Compile the proto into `package`; raise SystemExit where protoc refuses it."""
    with tempfile.TemporaryDirectory() as scratch:
        code = protoc.main(
            [
                "protoc",
                f"-I{protos}",
                f"-I{files('grpc_tools') / '_proto'}",
                f"--python_out={scratch}",
                f"--pyi_out={scratch}",
                f"--grpc_python_out={scratch}",
                "errata/v1/errata.proto",
            ]
        )
        if code != 0:
            raise SystemExit(f"protoc ended with {code}: see its messages above")
        shutil.rmtree(package, ignore_errors=True)
        package.mkdir(parents=True)
        (package / "__init__.py").write_text('"""Generated from protos/errata/v1/errata.proto: do not edit."""\n')
        for module in MODULES:
            source = (Path(scratch) / "errata" / "v1" / module).read_text()
            (package / module).write_text(
                source.replace("from errata.v1 import errata_pb2", "from service.pb import errata_pb2")
            )


if __name__ == "__main__":
    generate(PROTOS, PACKAGE)
