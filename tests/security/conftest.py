"""A service in a separate process, the target of hostile uploads."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from security.service_process import Serve, ServiceProcess, running_service
from security.uploads import GoodUpload, good_uploads

from service.evidence.bundle import Bundle


@pytest.fixture(scope="session")
def good(demo: Bundle) -> tuple[GoodUpload, ...]:
    """Good uploads for the 20 photographs."""
    return good_uploads(demo)


@pytest.fixture(scope="module")
def serve(
    data_dir: Path, imagenet_real: Bundle, demo: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Return a function that returns a running service, restarted if an attack has ended it."""
    with ExitStack() as stack:
        running: list[ServiceProcess] = []

        def give() -> ServiceProcess:
            if not running or running[-1].ended():
                folder = tmp_path_factory.mktemp("service")
                running.append(stack.enter_context(running_service(folder, data_dir)))
            return running[-1]

        yield give
