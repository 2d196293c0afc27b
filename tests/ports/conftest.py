"""An S3 server for the tests of archives."""

from collections.abc import Iterator

import pytest
import s3fs
from moto.server import ThreadedMotoServer
from redis_server import free_port


@pytest.fixture(scope="package")
def bucket() -> Iterator[str]:
    """Return a bucket in an S3 server on this machine, whose address is in the environment.

    One for all: s3fs remembers the first server that it was given, and moto's servers share their buckets.
    """
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("archive")
        yield "s3://archive"
    server.stop()
