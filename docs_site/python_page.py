"""The reference of the Python API: a mkdocstrings directive for each public name of errata."""

from typing import is_typeddict

import errata
from errata import requests

INTRODUCTION = """# Python API

```console
$ pip install ./client
```

Run the command in a checkout; see [Installation](../get-started/install.md).

Import the names below from `errata`. The protocol messages, such as `Analysis` and `Verdict`, are in `errata.pb`; see
[gRPC messages](grpc/messages.md). The exceptions are in [`errata.errors`](#errata.errors).

This page is generated from the docstrings of the package `errata`.

"""
MESSAGES = "pb"  # generated modules have no docstrings; the gRPC reference describes them


def render() -> str:
    """Return the page as Markdown."""
    names = [f"errata.{name}" for name in errata.__all__ if name != MESSAGES]
    options = [f"errata.requests.{name}" for name, value in vars(requests).items() if is_typeddict(value)]
    return INTRODUCTION + "\n".join(_directive(name) for name in [*names, *options, "errata.errors"])


def _directive(name: str) -> str:
    """Return the directive of a name. The methods of a client are in several classes."""
    inherited = "    options:\n      inherited_members: true\n" if name.endswith("Client") else ""
    return f"::: {name}\n{inherited}"
