"""Generate errata/v1 from errata/v1/*.proto (`make proto`, and every build of the client)."""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from google import api
from grpc_tools import protoc

CLIENT = Path(__file__).resolve().parent
PACKAGE = Path("errata") / "v1"
PROTO_FOLDERS = (CLIENT / "protos", CLIENT.parent / "protos")  # in a source distribution, or in a checkout
GOOGLE_PROTOS = Path(next(iter(api.__path__))).parents[1]  # googleapis-common-protos has google/api/*.proto


def generate() -> None:
    """Compile the protos into client/errata/v1; raise SystemExit if protoc rejects them.

    Each file is replaced atomically, so that processes can import the package meanwhile.
    """
    protos = next(folder for folder in PROTO_FOLDERS if (folder / PACKAGE).is_dir())
    names = sorted(path.stem for path in (protos / PACKAGE).glob("*.proto"))
    folder = CLIENT / PACKAGE
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=CLIENT, prefix=".generated-") as output:
        _compile(protos, [f"--python_out={output}", f"--pyi_out={output}"], names)
        _compile(protos, [f"--grpc_python_out={output}"], [name for name in names if name.endswith("_service")])
        imports = [f"from errata.v1.{name}_pb2 import *" for name in names]
        (Path(output) / PACKAGE / "__init__.py").write_text(
            "\n".join(
                [f'"""All messages and enums, generated from {PACKAGE}/*.proto: do not edit."""', "", *imports, ""]
            )
        )
        generated = {file.name: file for file in (Path(output) / PACKAGE).iterdir()}
        for name, file in generated.items():
            file.replace(folder / name)
    for file in folder.iterdir():
        if file.is_file() and file.name not in generated:
            file.unlink()


def _compile(protos: Path, outputs: list[str], names: list[str]) -> None:
    includes = [f"-I{folder}" for folder in (protos, GOOGLE_PROTOS, files("grpc_tools") / "_proto")]
    code = protoc.main(["protoc", *includes, *outputs, *(f"{PACKAGE}/{name}.proto" for name in names)])
    if code != 0:
        raise SystemExit(f"protoc exited with code {code}; see its messages above")


if __name__ == "__main__":
    generate()
