"""The Hugging Face Hub's API: commits, files, and pull requests of model repositories.

Errata sends the same requests as the library huggingface_hub, but does not use the library, because the library follows
redirects and does not limit the size of a response.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from errata.errors import ModelNotFound

from service.predictions.registry_http import RegistryAddress, RegistryHttp

MAIN = "main"
MODEL_CARD = "README.md"
MAX_CARD = 1 << 20  # bytes
MAX_PAGES = 20  # maximum number of pages of pull requests


@dataclass(frozen=True)
class PullRequest:
    """A pull request of a repository."""

    number: int
    title: str
    is_open: bool

    @property
    def revision(self) -> str:
        """The branch with the commits of the pull request."""
        return f"refs/pr/{self.number}"


class HuggingFaceClient:
    """A client of one Hub. Thread-safe.

    All methods raise ModelNotFound if the Hub has no such repository or revision, and Unavailable if it cannot be
    reached or refuses a request.
    """

    def __init__(self, address: RegistryAddress) -> None:
        self._http = RegistryHttp(address)

    @cached_property
    def user(self) -> str:
        """The name of the token's user."""
        return str(self._field(self._http.request("GET", "api/whoami-v2"), "name", str))

    def head(self, repository: str, revision: str) -> str:
        """Return the commit of a branch."""
        return str(self._field(self._http.request("GET", _revision_path(repository, revision)), "sha", str))

    def files(self, repository: str, commit: str) -> Mapping[str, str]:
        """Return the Git blob ID of each file of a commit."""
        path = _revision_path(repository, commit)
        files = self._field(self._http.request("GET", path, parameters={"blobs": "true"}), "siblings", list)
        return {self._field(file, "rfilename", str): self._field(file, "blobId", str) for file in files}

    def model_card(self, repository: str, commit: str) -> bytes:
        """Return the model card of an existing commit; empty if there is none."""
        path = f"{_quote_repository(repository)}/raw/{quote(commit, safe='')}/{MODEL_CARD}"
        try:
            return self._http.read(path, MAX_CARD)
        except ModelNotFound:
            return b""

    def own_pull_requests(self, repository: str) -> Iterator[PullRequest]:
        """Yield the pull requests that the token's user opened, newest first."""
        path = f"api/models/{_quote_repository(repository)}/discussions"
        for page in range(MAX_PAGES):
            parameters = {"type": "pull_request", "author": self.user, "p": str(page)}
            answer = self._http.request("GET", path, parameters=parameters)
            discussions = self._field(answer, "discussions", list)
            for fields in discussions:
                if isinstance(fields, dict) and fields.get("isPullRequest") and self._is_own(fields):
                    is_open = fields.get("status") in ("open", "draft")
                    yield PullRequest(self._field(fields, "num", int), self._field(fields, "title", str), is_open)
            if self._field(answer, "start", int) + len(discussions) >= self._field(answer, "count", int):
                return

    def own_texts(self, repository: str, number: int) -> Sequence[str]:
        """Return the texts that the token's user wrote in a pull request: description, comments, commit subjects."""
        path = f"api/models/{_quote_repository(repository)}/discussions/{number}"
        events = self._field(self._http.request("GET", path, parameters={"diff": "1"}), "events", list)
        return [_text_of(event) for event in events if isinstance(event, dict) and self._is_own(event)]

    def open_pull_request(self, repository: str, commit: str, card: bytes, title: str, description: str) -> int:
        """Open a pull request that replaces the model card of a commit; return the number of the pull request."""
        answer = self._commit(repository, MAIN, commit, card, (title, description), {"create_pr": "1"})
        number = self._field(answer, "pullRequestUrl", str).rpartition("/")[2]
        if not (number.isascii() and number.isdigit()):
            raise self._http.unavailable("answered a pull request without its number")
        return int(number)

    def update_pull_request(self, repository: str, pull: PullRequest, commit: str, card: bytes, title: str) -> None:
        """Replace the model card in a pull request by adding a commit."""
        self._commit(repository, pull.revision, commit, card, (title, ""), {})

    def comment(self, repository: str, number: int, text: str) -> None:
        """Add a comment to a pull request."""
        path = f"api/models/{_quote_repository(repository)}/discussions/{number}/comment"
        self._http.request("POST", path, body=json.dumps({"comment": text}).encode())

    def _commit(
        self, repository: str, branch: str, parent: str, card: bytes, texts: tuple[str, str], parameters: dict[str, str]
    ) -> Mapping[str, Any]:
        """Commit a model card; the Hub refuses if `parent` is no longer the newest commit of the branch."""
        header = {"summary": texts[0], "description": texts[1], "parentCommit": parent}
        file = {"content": base64.b64encode(card).decode(), "path": MODEL_CARD, "encoding": "base64"}
        lines = [{"key": "header", "value": header}, {"key": "file", "value": file}]
        return self._http.request(
            "POST",
            f"api/models/{_quote_repository(repository)}/commit/{quote(branch, safe='')}",
            parameters=parameters,
            body=b"".join(json.dumps(line).encode() + b"\n" for line in lines),
            content_type="application/x-ndjson",
        )

    def _is_own(self, fields: Mapping[str, Any]) -> bool:
        author = fields.get("author")
        return isinstance(author, dict) and author.get("name") == self.user

    def _field(self, fields: Any, name: str, kind: type) -> Any:
        """Return a field of a response."""
        value = fields.get(name) if isinstance(fields, dict) else None
        if not isinstance(value, kind):
            raise self._http.unavailable(f"answered without the field {name!r}")
        return value


def _text_of(event: Mapping[str, Any]) -> str:
    """Return the text of a comment or the subject of a commit; empty for another event."""
    try:
        data = event["data"]
        return str(data["latest"]["raw"] if event["type"] == "comment" else data["subject"])
    except (KeyError, TypeError):
        return ""


def _revision_path(repository: str, revision: str) -> str:
    return f"api/models/{_quote_repository(repository)}/revision/{quote(revision, safe='')}"


def _quote_repository(repository: str) -> str:
    """Return the name of a repository for use in a path; raise ModelNotFound if the name is invalid."""
    parts = repository.split("/")
    if len(parts) > 2 or any(part in ("", ".", "..") for part in parts):
        raise ModelNotFound(f"Invalid repository {repository!r:.120}. Use the form OWNER/NAME.", field="model")
    return "/".join(quote(part, safe="") for part in parts)
