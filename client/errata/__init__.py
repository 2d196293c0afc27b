"""The client: what a program imports to use a service. Thin, typed, raises Errata's own errors.

with Client("127.0.0.1:50051") as client:
    analysis = client.upload("predictions.csv", dataset="imagenet-real")
    print(analysis.summary.groups["all"].counts)

async with AsyncClient("errata.example:443", token=..., tls=True) as client:
    analysis = await client.wait((await client.analyze("timm:resnet50.a1_in1k")).name)
"""

from errata.aio import AsyncClient
from errata.status import error_of
from errata.sync import Client
from errata.v1 import errata_pb2 as pb

__all__ = ["AsyncClient", "Client", "error_of", "pb"]
