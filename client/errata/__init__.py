"""The client of Errata, a service that classifies the errors of image classifiers.

```python
from errata import Client

with Client("127.0.0.1:50051") as client:
    analysis = client.upload("predictions.csv", dataset="imagenet-real")
    print(analysis.summary.groups["all"].counts)
```
"""

from errata._async.client import AsyncClient
from errata._async.verdicts import AsyncVerdicts
from errata._sync.client import Client
from errata._sync.verdicts import Verdicts
from errata.connection import ConnectionFailed
from errata.results import Analysis, Comparison, Trend
from errata.status import error_of
from errata.v1 import errata_pb2 as pb

__all__ = [
    "Analysis",
    "AsyncClient",
    "AsyncVerdicts",
    "Client",
    "Comparison",
    "ConnectionFailed",
    "Trend",
    "Verdicts",
    "error_of",
    "pb",
]
