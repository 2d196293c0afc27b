"""A fake Hugging Face Hub server with metadata, revisions, and files."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FakeHub:
    """The content of the hub: files by repository, and commits by branch. Records the downloaded files."""

    repositories: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "a" * 40})
    fetched: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0].replace("%2F", "/")
            if result := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
                self.metadata(result[1], result[2] or "main")
            elif result := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+(?:/new)?)/(.+)", path):
                self.file(result[1], result[2], result[3], with_body)
            else:
                self.refuse("BadRequest")

        def commit(self, revision: str) -> str | None:
            return revision if revision in hub.revisions.values() else hub.revisions.get(revision)

        def metadata(self, repository: str, revision: str) -> None:
            if repository not in hub.repositories:
                return self.refuse("RepoNotFound")
            if self.commit(revision) is None:
                return self.refuse("RevisionNotFound")
            files = hub.repositories[repository]
            config = json.loads(files.get("config.json", b"{}"))
            described = {key: config[key] for key in ("architectures", "model_type") if key in config}
            siblings = [{"rfilename": name} for name in files]
            description = {"id": repository, "sha": self.commit(revision), "siblings": siblings, "config": described}
            body = json.dumps(description).encode()
            return self.send(body, {"Content-Type": "application/json"})

        def file(self, repository: str, revision: str, name: str, with_body: bool) -> None:
            if repository not in hub.repositories:
                return self.refuse("RepoNotFound")
            commit = self.commit(revision)
            if commit is None:
                return self.refuse("RevisionNotFound")
            content = hub.repositories[repository].get(name)
            if content is None:
                return self.refuse("EntryNotFound")
            if with_body:
                hub.fetched.append(name)
            etag = hashlib.sha256(content).hexdigest()
            return self.send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, with_body)

        def send(self, body: bytes, headers: Mapping[str, str], with_body: bool = True) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
