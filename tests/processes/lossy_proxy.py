"""A proxy for Redis that drops the first reply with given bytes, and closes the connection."""

import contextlib
import socket
import threading


class LossyProxy:
    """Listens on `port`; sets `lost` when the reply has been dropped."""

    def __init__(self, redis_port: int, carries: bytes) -> None:
        self._redis_port = redis_port
        self._carries = carries
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                redis = socket.create_connection(("127.0.0.1", self._redis_port))
                threading.Thread(target=self._pass, args=(client, redis, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(redis, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if replies and self._carries in piece and not self.lost.is_set():
                    self.lost.set()
                    break
                sink.sendall(piece)
        for item in (source, sink):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()
