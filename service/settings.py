"""Every setting, in one table: name, type, bounds, default, meaning. Read from ERRATA_ variables, here alone.

The documentation's reference of settings is generated from it. An unknown ERRATA_ variable stops the start with the
nearest known name; what Kubernetes injects for services is ignored.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from errata.errors import InvalidSetting, Violation
from errata.json_input import parse_json
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

PREFIX = "ERRATA_"
MIN_SECRET = 8  # characters
TEST_VARIABLES = frozenset({"ERRATA_REFERENCE_DIR"})
STRUCTURED = {
    "evidence": dict,
    "images": dict,
    "model_sources": list,
    "watched_models": list,
    "registries": dict,
}  # given as JSON
SECRET = {"registries"}  # what came isn't shown
HIDDEN = "…"  # stands for it
INJECTED = re.compile(r"ERRATA_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\w+)?)")


def default_data_dir() -> Path:
    """Return the user's data folder, by the XDG rules."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "errata"


class RuleSettings(BaseModel):
    """Which events of a registry lead to which analysis."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    event: str = Field(
        pattern=r"^(created|alias:.+|tag:.+)$", max_length=300, description="`created`, `alias:NAME`, or `tag:KEY`"
    )
    model: str = Field("*", min_length=1, max_length=300, description="pattern for the name of the model")
    dataset: str = Field("imagenet-real", min_length=1, max_length=256, description="data set of the analysis")
    policy: Path | None = Field(None, description="file of the gate policy; unset: no gate")
    baseline: str = Field(
        "", max_length=256, description="analysis to compare with, or `alias:NAME` for the version of an alias"
    )


class RegistrySettings(BaseModel):
    """One model registry: where it is, what it signs its calls with, and what is done about them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mlflow", "huggingface", "wandb", "generic"] = Field(description="kind of the registry")
    url: str = Field("", description="address of the registry; for `generic`, the address that results are sent to")
    token: SecretStr | None = Field(None, description="token that Errata sends to the registry")
    secrets: list[SecretStr] = Field(
        min_length=1, description="secrets that authenticate the registry's calls; several during a rotation"
    )
    rules: list[RuleSettings] = Field([], description="rules that map an event to an analysis")
    networks: list[str] = Field([], description="for `generic`: private networks (CIDR) that results can be sent to")
    ports: list[int] = Field([], description="for `generic`: ports besides 443 that results can be sent to")

    @field_validator("secrets")
    @classmethod
    def _long_enough(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(item.get_secret_value()) < MIN_SECRET for item in value):
            raise ValueError(f"expected secrets of at least {MIN_SECRET} characters, got a shorter one")
        return value


class Settings(BaseModel):
    """What an operator may set. Frozen; each field is the variable ERRATA_ + its name."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=default_data_dir, description="folder of evidence bundles, archive and caches"
    )
    archive: str = Field(
        "", description="folder or object-store URL of finished analyses; empty: `archive` in ERRATA_DATA_DIR"
    )
    evidence: dict[str, list[Path]] = Field(
        default_factory=dict,
        description="JSON object, data set → path of a bundle or list of paths, the first is the default; "
        "`demo` and `imagenet-real` are built on first use",
    )
    images: dict[str, Path] = Field(
        default_factory=dict,
        description="JSON object, data set → folder or .tar file of its images; `demo`: the installed package's",
    )
    max_missing: float = Field(
        0.01, ge=0, le=1, description="share of a data set's images that may be missing or damaged"
    )
    models: Path | None = Field(
        None, description="folder that `file:` and `onnx:` models must lie in; unset: both are refused"
    )
    model_sources: list[str] = Field(
        ["*"], description="JSON list of the models that may be run, as glob patterns over `SOURCE:REST`"
    )
    max_parameters: int = Field(3_000_000_000, ge=1, description="parameters of a model")
    max_download_bytes: int = Field(10 << 30, ge=1, description="bytes of weights that a worker fetches for a model")
    load_seconds: float = Field(
        900.0, gt=0, le=86_400, description="seconds that loading a model may take, downloads and a trial run included"
    )
    model_memory_bytes: int = Field(
        0,
        ge=0,
        description="bytes of memory that the process which runs models may hold; 0: 80 % of the machine's or "
        "container's",
    )
    registries: dict[str, RegistrySettings] = Field(
        default_factory=dict,
        description="JSON object, id → {kind, url, token, secrets, rules: [{event, model, dataset, policy, "
        "baseline}]}: model registries whose events lead to analyses",
    )
    poll_seconds: float = Field(300, ge=1, le=86_400, description="seconds between looks for events that were lost")
    public_url: str = Field("", description="where people reach the pages, for links in registries")
    grpc_address: str = Field(
        "127.0.0.1:50051", description="where the API listens, host:port; port 0 takes a free one"
    )
    http_address: str = Field(
        "127.0.0.1:8080", description="pages, hooks, gates, `/metrics`, `/livez`, `/readyz`; host:port"
    )
    metrics_address: str = Field(
        "",
        description="where `/metrics` is served instead of beside the pages, host:port; empty: there",
    )
    worker_http_address: str = Field(
        "127.0.0.1:8081", description="a worker's `/metrics`, `/livez`, `/readyz`; host:port"
    )
    heartbeat_seconds: float = Field(
        30.0, ge=1, le=600, description="seconds after which a worker that is silent counts as dead"
    )
    tokens: Path | None = Field(
        None, description="file of the bearer tokens that callers need, a line a token, as `errata token` writes it"
    )
    tls_certificate: Path | None = Field(
        None, description="certificate (PEM) of what the service listens on; unset: plain text"
    )
    tls_key: Path | None = Field(None, description="key (PEM) of ERRATA_TLS_CERTIFICATE")
    tls_client_ca: Path | None = Field(
        None, description="certificates (PEM) that callers' own are checked with; unset: they need none"
    )
    watched_models: list[str] = Field(
        ["*"], description="JSON list of the models whose last results are metrics, as glob patterns over their names"
    )
    max_watched: int = Field(50, ge=0, le=1000, description="how many of these results are metrics; the newest")
    allow_insecure: bool = Field(False, description="`true`: listen beyond loopback without tokens")
    shard_size: int = Field(5000, ge=1, le=1_000_000, description="images a shard: the unit of work and of retry")
    max_open: int = Field(256, ge=1, le=1_000_000, description="open model analyses before new ones are refused")
    max_upload_bytes: int = Field(256 << 20, ge=1 << 10, description="bytes of an uploaded file, as it is sent")
    max_stored_bytes: int = Field(
        0, ge=0, description="bytes of the archive before new analyses are refused; 0: no limit"
    )
    retention_days: float = Field(0, ge=0, description="days after which a finished analysis is deleted; 0: never")
    max_uploads: int = Field(
        8,
        ge=1,
        le=1024,
        description="uploads at the same time, half of them by one token; more are refused with a delay",
    )
    parsers: int = Field(
        2, ge=1, le=64, description="sandboxed processes that parse binary uploads; further uploads wait"
    )
    batch_size: int = Field(64, ge=1, le=4096, description="images that a worker runs at once")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of a worker; 0: all cores")
    device: str = Field("", description="where models run: `cpu`, `cuda:N`, `mps`; empty: a GPU if there is one")
    clip_model: str = Field("", description="open_clip's name of the encoder's architecture; empty: ViT-L-14-336")
    clip_weights: str = Field("", description="open_clip's tag of its weights, or a local file; empty: openai")
    grace_seconds: float = Field(20.0, ge=0, le=3600, description="seconds that calls in hand may take after SIGTERM")
    log_level: str = Field("info", description="`debug`, `info`, `warning` or `error`")
    log_format: str = Field("auto", description="`json`, `text`, or `auto`: text on a terminal, JSON elsewhere")
    server: str = Field("127.0.0.1:50051", description="for the client: the API's host:port")
    token: SecretStr | None = Field(None, description="for the client: the bearer token")
    tls: bool = Field(
        False, description="`true`, for the client: the API is behind TLS; a CA file or a certificate says so too"
    )
    ca_file: Path | None = Field(
        None, description="for the client: certificates (PEM) that the API's is checked with, instead of the system's"
    )
    client_certificate: Path | None = Field(None, description="for the client: the certificate (PEM) that it shows")
    client_key: Path | None = Field(None, description="for the client: the key (PEM) of its certificate")
    redis_url: SecretStr | None = Field(
        None, description="broker, open jobs and cache; without it only `--local` works"
    )

    @field_validator("evidence", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: [paths] if isinstance(paths, str) else paths for name, paths in value.items()}
        return value

    @field_validator("registries")
    @classmethod
    def _names(cls, value: dict[str, RegistrySettings]) -> dict[str, RegistrySettings]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
                raise ValueError(f"expected ids of letters, digits and _.-, got {name!r:.80}")
        return value

    @field_validator("log_level", "log_format")
    @classmethod
    def _word(cls, value: str, info: Any) -> str:
        allowed = {"log_level": ("debug", "info", "warning", "error"), "log_format": ("auto", "json", "text")}[
            info.field_name
        ]
        if value.lower() not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}, got {value!r}")
        return value.lower()

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if value and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", value):
            raise ValueError(f"expected cpu, cuda:N or mps, got {value!r:.40}")
        return value

    @field_validator("grpc_address", "http_address", "metrics_address", "worker_http_address", "server")
    @classmethod
    def _address(cls, value: str, info: Any) -> str:
        if not value and info.field_name == "metrics_address":
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"expected host:port, got {value!r}")
        return value

    @property
    def archive_place(self) -> str:
        """Return where finished analyses are kept."""
        return self.archive or str(self.data_dir / "archive")


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings; raise InvalidSetting that names the variable, what was expected and what came."""
    environment = os.environ if environment is None else environment
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    _refuse_unknown(environment, known)
    given: dict[str, Any] = {}
    for variable, name in known.items():
        if environment.get(variable) and name not in overrides:  # an empty variable is one that isn't set
            given[name] = _decode(
                variable, environment[variable], structure=STRUCTURED.get(name), hidden=name in SECRET
            )
    try:
        return Settings(**given, **overrides)
    except ValidationError as error:
        violations = [
            Violation(
                PREFIX + str(item["loc"][0]).upper(),
                _place(item["loc"]) + _sentence(item["msg"], HIDDEN if item["loc"][0] in SECRET else item["input"]),
            )
            for item in error.errors(include_url=False)
        ]
        first = violations[0]
        raise InvalidSetting(f"{first.field}: {first.description}", violations=violations) from None


def _place(location: tuple[int | str, ...]) -> str:
    """Return where in a variable's JSON something is wrong."""
    inside = ".".join(map(str, location[1:]))
    return f"at {inside}: " if inside else ""


def _sentence(message: str, value: object) -> str:
    message = message.removeprefix("Value error, ")
    if "got" in message or value is HIDDEN:
        return message
    return f"{message}, got {value!r:.80}"


def _decode(variable: str, value: str, structure: type | None, hidden: bool) -> Any:
    if structure is None:
        return value
    expected = "a JSON list" if structure is list else "a JSON object"
    try:
        raw = parse_json(value)
    except ValueError as error:
        came = HIDDEN if hidden else repr(value)[:80]
        raise InvalidSetting(f"{variable}: expected {expected}, got {came} ({error})", field=variable) from (
            None if hidden else error
        )
    if not isinstance(raw, structure):
        came = HIDDEN if hidden else repr(value)[:80]
        raise InvalidSetting(f"{variable}: expected {expected}, got {came}", field=variable)
    return raw


def _refuse_unknown(environment: Mapping[str, str], known: Mapping[str, str]) -> None:
    for variable in environment:
        if (
            not variable.startswith(PREFIX)
            or variable in known
            or variable in TEST_VARIABLES
            or INJECTED.fullmatch(variable)
        ):
            continue
        swapped = [name for name in known if sorted(name) == sorted(variable)]
        near = swapped or difflib.get_close_matches(variable, known, n=1, cutoff=0)
        raise InvalidSetting(f"unknown setting {variable}: the nearest known one is {near[0]}", field=variable)
