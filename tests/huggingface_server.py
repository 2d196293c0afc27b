"""A Hugging Face Hub for tests: models with commits, model cards, pull requests, and comments.

It answers the requests of huggingface_hub 2 (HfApi), from whose source and documentation the fields are taken.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from registry_server import LocalServer, send

USER = "errata-bot"
TOKEN = "hf_token-of-the-tests"
TIME = "2026-11-29T00:00:00.000Z"
PAGE = 2  # discussions


@dataclass
class Pull:
    """A pull request or a discussion."""

    number: int
    title: str
    author: str
    events: list[dict[str, Any]]
    status: str = "open"
    is_pull_request: bool = True


@dataclass
class Repository:
    """A model: the files of each commit, the commit of each branch, and discussions."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    pulls: list[Pull] = field(default_factory=list)

    def commit(self, branch: str, files: Mapping[str, bytes], parent: str = "") -> str:
        """Add a commit to a branch; return its hash."""
        content = {**self.commits.get(parent or self.branches.get(branch, ""), {}), **files}
        name = hashlib.sha1(repr((len(self.commits), sorted(content.items()))).encode()).hexdigest()
        self.commits[name] = content
        self.branches[branch] = name
        return name

    def merge(self, number: int) -> str:
        """Merge a pull request, as the button of the web page does; return the commit on main."""
        self.pull(number).status = "merged"
        return self.commit("main", self.commits[self.branches[f"refs/pr/{number}"]])

    def pull(self, number: int) -> Pull:
        return next(pull for pull in self.pulls if pull.number == number)

    def card(self, branch: str = "main") -> str:
        return self.commits[self.branches[branch]]["README.md"].decode()

    def comments(self, number: int) -> list[str]:
        """Return the comments without the description."""
        texts = [event["data"]["latest"]["raw"] for event in self.pull(number).events if event["type"] == "comment"]
        return texts[1:]


class HuggingFaceServer(LocalServer):
    """A running Hub. `before` is called before a request changes anything, and `after` before its answer."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.is_public = False  # whether requests without a token can read the repositories
        self.requests: list[tuple[str, str, Mapping[str, str], bytes]] = []  # verb, path with query, headers, body
        self.before: Callable[[str, str], None] = lambda verb, path: None
        self.after: Callable[[str, str], None] = lambda verb, path: None
        self._lock = threading.Lock()
        super().__init__()

    def respond(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.command, request.path, headers, body))
        self.before(request.command, request.path)
        with self._lock:
            status, content = self.answer(request.command, request.path, headers, body)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with suppress(OSError):  # the connection ends before the answer
            self.after(request.command, request.path)
            send(request, status, data, **{"Content-Type": "application/json"})

    def changes(self) -> list[tuple[str, str]]:
        """Return the requests that change something."""
        return [(verb, path) for verb, path, *_ in self.requests if verb != "GET" and not is_check(path)]

    def answer(self, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        is_anonymous_read = self.is_public and verb == "GET" and "authorization" not in headers
        if not is_anonymous_read and headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if url.path == "/api/whoami-v2":
            return 200, {"type": "user", "name": USER}
        if url.path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        if result := re.fullmatch(r"/([^/]+/[^/]+)/raw/([^/]+)/(.+)", url.path):
            return self._file(result[1], unquote(result[2]), unquote(result[3]))
        result = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)(?:/([^/]+))?(?:/(\w+))?", url.path)
        repository = self.repositories.get(unquote(result[1])) if result else None
        if result is None or repository is None:
            return 404, {"error": "Repository not found"}
        match verb, result[2], result[3] and unquote(result[3]), result[4]:
            case "GET", "revision", revision, None:
                return self._revision(result[1], repository, revision)
            case "GET", "discussions", None, None:
                return 200, self._discussions(result[1], repository, query)
            case "GET", "discussions", number, None:
                return 200, self._details(result[1], repository.pull(int(number)))
            case "POST", "discussions", number, "comment":
                event = _comment(USER, json.loads(body)["comment"])
                repository.pull(int(number)).events.append(event)
                return 200, {"newMessage": event}
            case "POST", "preupload", _, None:
                files = json.loads(body)["files"]
                return 200, {
                    "files": [{"path": it["path"], "uploadMode": "regular", "shouldIgnore": False} for it in files]
                }
            case "POST", "commit", revision, None:
                return self._commit(result[1], repository, revision, "create_pr" in query, body)
        return 404, {"error": "not found"}

    def _file(self, name: str, commit: str, path: str) -> tuple[int, Any]:
        content = self.repositories[name].commits.get(commit, {}).get(path)
        return (404, {"error": "Entry not found"}) if content is None else (200, content)

    def _revision(self, name: str, repository: Repository, revision: str) -> tuple[int, Any]:
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return 404, {"error": f"Invalid rev id: {revision}"}
        files = [
            {"rfilename": path, "blobId": hashlib.sha1(content).hexdigest(), "size": len(content)}
            for path, content in repository.commits[commit].items()
        ]
        return 200, {"id": name, "modelId": name, "sha": commit, "siblings": files}

    def _discussions(self, name: str, repository: Repository, query: Mapping[str, str]) -> dict[str, Any]:
        listed = [
            pull
            for pull in reversed(repository.pulls)
            if (query.get("type") != "pull_request" or pull.is_pull_request)
            and query.get("author", pull.author) == pull.author
        ]
        start = int(query["p"]) * PAGE
        page = [_to_fields(name, pull) for pull in listed[start : start + PAGE]]
        return {"discussions": page, "count": len(listed), "start": start}

    def _details(self, name: str, pull: Pull) -> dict[str, Any]:
        changes = {"base": "refs/heads/main"}
        return {**_to_fields(name, pull), "events": pull.events, "changes": changes, "filesWithConflicts": []}

    def _commit(self, name: str, repository: Repository, revision: str, create: bool, body: bytes) -> tuple[int, Any]:
        lines = [json.loads(line) for line in body.splitlines()]
        assert [line["key"] for line in lines] == ["header", "file"]
        header, file = lines[0]["value"], lines[1]["value"]
        head = repository.branches[revision]
        if header.get("parentCommit", head) != head:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = {file["path"]: base64.b64decode(file["content"])}
        answer: dict[str, Any] = {"success": True, "hookOutput": ""}
        if create:
            number = len(repository.pulls) + 1
            revision = f"refs/pr/{number}"
            description = _comment(USER, header["description"])
            repository.pulls.append(Pull(number, header["summary"], USER, [description]))
            answer["pullRequestUrl"] = f"{self.url}/{name}/discussions/{number}"
        commit = repository.commit(revision, files, parent=head)
        for pull in repository.pulls:
            if revision == f"refs/pr/{pull.number}":
                data = {"subject": header["summary"], "oid": commit}
                pull.events.append({**_event("commit", USER), "data": data})
        return 200, {**answer, "commitOid": commit, "commitUrl": f"{self.url}/{name}/commit/{commit}"}


def is_check(path: str) -> bool:
    """Return whether a request is a check that HfApi makes before a commit."""
    return "/preupload/" in path or path.endswith("/validate-yaml")


def _event(kind: str, author: str) -> dict[str, Any]:
    return {"id": "0" * 24, "type": kind, "createdAt": TIME, "author": {"name": author}}


def _comment(author: str, text: str) -> dict[str, Any]:
    data = {"edited": False, "hidden": False, "latest": {"raw": text, "html": "", "updatedAt": TIME}}
    return {**_event("comment", author), "data": data}


def other_comment(text: str) -> dict[str, Any]:
    """Return a comment of another user."""
    return _comment("somebody", text)


def _to_fields(name: str, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "status": pull.status,
        "isPullRequest": pull.is_pull_request,
        "author": {"name": pull.author},
        "createdAt": TIME,
        "repo": {"name": name, "type": "model"},
    }
