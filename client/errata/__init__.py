"""The client: what a program imports to use a service. Thin, typed, raises Errata's own errors.

with Client("127.0.0.1:50051") as client:
    analysis = client.upload("predictions.csv", dataset="imagenet-real")
    print(analysis.summary.groups["all"].counts)

async with AsyncClient("errata.example:443", token=..., tls=True) as client:
    analysis = await client.wait((await client.analyze("timm:resnet50.a1_in1k")).name)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errata.aio import AsyncClient
    from errata.status import error_of
    from errata.sync import Client
    from errata.v1 import errata_pb2 as pb

__all__ = ["AsyncClient", "Client", "error_of", "pb"]
_MODULES = {"AsyncClient": "errata.aio", "Client": "errata.sync", "error_of": "errata.status"}


def __getattr__(name: str) -> Any:
    """Import a name when it is used, so that `errata --help` does not load gRPC."""
    if name == "pb":
        return import_module("errata.v1.errata_pb2")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'errata' has no attribute {name!r}")
