"""The client of Errata, a service that classifies the errors of image classifiers.

```python
from errata import Client

with Client("127.0.0.1:50051") as client:
    analysis = client.upload("predictions.csv", dataset="imagenet-real")
    print(analysis.summary.groups["all"].counts)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errata import v1 as pb
    from errata._async.client import AsyncClient
    from errata._async.verdicts import AsyncVerdicts
    from errata._sync.client import Client
    from errata._sync.verdicts import Verdicts
    from errata.connection import ConnectionFailed
    from errata.results import Analysis, Comparison, Trend
    from errata.status import error_of

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
_MODULES = {
    "Analysis": "errata.results",
    "AsyncClient": "errata._async.client",
    "AsyncVerdicts": "errata._async.verdicts",
    "Client": "errata._sync.client",
    "Comparison": "errata.results",
    "ConnectionFailed": "errata.connection",
    "Trend": "errata.results",
    "Verdicts": "errata._sync.verdicts",
    "error_of": "errata.status",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used, so that `errata --help` does not load gRPC."""
    if name == "pb":
        value: Any = import_module("errata.v1")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'errata' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
