"""Files of installed packages, found without an import."""

from importlib.util import find_spec
from pathlib import Path


def package_file(package: str, name: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed: run `make setup`"
    return Path(spec.origin).parent / name
