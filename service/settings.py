"""All settings in one table: name, type, range, default, and description. Only this module reads ERRATA_ variables.

If an ERRATA_ variable is unknown, the process does not start, and the error message suggests the nearest name.
Variables that Kubernetes injects for services are ignored.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_origin

import structlog
from errata.errors import InvalidSetting, Violation
from errata.json_input import parse_json
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from service.network_addresses import is_http_url
from service.object_store import is_remote

PREFIX = "ERRATA_"
MIN_SECRET = 8  # characters
MIN_MODEL_MEMORY = 256 << 20  # bytes; a process that has only imported torch and timm needs more
TEST_VARIABLES = frozenset({"ERRATA_REFERENCE_DIR"})
SECRET_SETTINGS = {"registries"}  # messages do not show their values
REDACTED = "…"
INJECTED = re.compile(r"ERRATA_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\w+)?)")
_log = structlog.get_logger()


def default_data_dir() -> Path:
    """Return the data folder of the user according to the XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "errata"


class RuleSettings(BaseModel):
    """Rule that starts an analysis for matching events of a registry."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    event: str = Field(
        pattern=r"^(created|alias:.+|tag:.+)$", max_length=300, description="`created`, `alias:NAME`, or `tag:KEY`."
    )
    model: str = Field("*", min_length=1, max_length=300, description="Glob pattern for the name of the model.")
    dataset: str = Field("imagenet-real", min_length=1, max_length=256, description="Data set of the analysis.")
    policy: Path | None = Field(None, description="File of the gate policy. If unset, there is no gate.")
    baseline: str = Field(
        "",
        max_length=256,
        description="Name `analyses/ID` or ID of the analysis to compare with, or `alias:NAME` for the version of an "
        "alias.",
    )


class RegistrySettings(BaseModel):
    """One model registry: address, credentials, and rules."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mlflow", "huggingface", "wandb", "generic"] = Field(description="Kind of the registry.")
    url: str = Field(
        "",
        description="Address of the registry. For `generic`: the address that receives results. For `wandb`, the "
        "default is `https://api.wandb.ai`.",
    )
    token: SecretStr | None = Field(
        None,
        description="Token that Errata sends to the registry. `huggingface` and `wandb` receive results only with it.",
    )
    secrets: list[SecretStr] = Field(
        min_length=1, description="Secrets that authenticate the registry's calls. Several are valid during a rotation."
    )
    rules: list[RuleSettings] = Field([], description="Rules that map an event to an analysis.")
    networks: list[str] = Field(
        [],
        description="Private networks (CIDR): for `generic`, those that may receive results; for `wandb`, those with "
        "the files of artifacts.",
    )
    ports: list[int] = Field([], description="For `generic`: permitted ports besides 443.")

    @field_validator("secrets")
    @classmethod
    def _check_length(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(secret.get_secret_value()) < MIN_SECRET for secret in value):
            raise ValueError(f"a secret is too short; use at least {MIN_SECRET} characters")
        return value


class Settings(BaseModel):
    """Settings of an operator. Frozen. The variable of a field is `ERRATA_` and the field's name in upper case.

    The reference page of the documentation is generated from the descriptions.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder of evidence bundles, the archive, and caches. The default is `errata` in the user's XDG "
        "data folder.",
    )
    archive: str = Field(
        "",
        description="Folder or object-store URL of finished analyses. If empty, the folder `archive` in "
        "`ERRATA_DATA_DIR`.",
    )
    evidence: dict[str, list[Path]] = Field(
        default_factory=dict,
        description="JSON object that maps a data set to the path of its bundle, or to a list of paths of which the "
        "first is the default. The bundles of `demo` and `imagenet-real` are built on first use.",
    )
    images: dict[str, str] = Field(
        default_factory=dict,
        description="JSON object that maps a data set to the folder or `.tar` file of its images. Pages can also show "
        "the images at an object-store URL; workers cannot read them. The images of `demo` are part of the demo "
        "package.",
    )
    thumbnail_cache_bytes: int = Field(
        1 << 30,
        ge=0,
        description="Maximum size of the cache of pictures in the folder `cache/pictures` of `ERRATA_DATA_DIR`, in "
        "bytes. The pictures that were not used for longest are removed. If 0, nothing is cached.",
    )
    attributes: dict[str, list[Path]] = Field(
        default_factory=dict,
        description="JSON object that maps a data set to a file with attributes of its images, or to a list of files. "
        "A file is CSV (`file_name,attribute,value`) or the annotation of ImageNet-X (`.jsonl`).",
    )
    max_missing: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest share of a data set's images, from 0 to 1, that may be missing or damaged. An analysis "
        "fails above it.",
    )
    models: Path | None = Field(
        None,
        description="Folder of the files of `file:` and `onnx:` models. If unset, these models are refused.",
    )
    model_sources: list[str] = Field(
        ["*"],
        description="JSON list of the permitted models, as glob patterns over `SOURCE:NAME`. The default permits all "
        "models.",
    )
    expected_models: list[str] = Field(
        default_factory=list,
        description="JSON list of the models, or patterns such as `timm:*`, that autoscaled workers offer. The API "
        "accepts them, and the data sets of its `ERRATA_IMAGES`, in addition to what workers offer; without a worker "
        "for it, an analysis waits. If empty, the API accepts all permitted models until the first worker registers.",
    )
    max_parameters: int = Field(3_000_000_000, ge=1, description="Maximum number of parameters of a model.")
    max_download_bytes: int = Field(
        10 << 30, ge=1, description="Maximum size of the weights that a worker downloads for one model, in bytes."
    )
    weights_cache_bytes: int = Field(
        0,
        ge=0,
        description="Maximum size of downloaded weights that a worker keeps, in bytes. After each model that it loads, "
        "the worker deletes the least recently used repositories of the Hugging Face Hub and checkpoints of torch. If "
        "0, it deletes none.",
    )
    load_seconds: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="Maximum time to load a model, in seconds. It includes downloads and a trial prediction.",
    )
    model_memory_bytes: int = Field(
        0,
        ge=0,
        description="Maximum memory of the process that runs models, in bytes, at least 256 MiB. If 0, 80 % of the "
        "memory of the machine or container.",
    )
    registries: dict[str, RegistrySettings] = Field(
        default_factory=dict,
        description="JSON object that maps an id to a model registry whose events start analyses: {kind, url, token, "
        "secrets, rules: [{event, model, dataset, policy, baseline}]}.",
    )
    poll_seconds: float = Field(
        300, ge=1, le=86_400, description="Interval at which registries are polled for missed events, in seconds."
    )
    public_url: str = Field("", description="Public URL of the pages. Links that are written to registries use it.")
    grpc_address: str = Field(
        "127.0.0.1:50051", description="Listening address of the gRPC API, host:port. Port 0 selects a free port."
    )
    http_address: str = Field(
        "127.0.0.1:8080",
        description="Listening address of the HTTP server, host:port: pages, webhooks, gates, `/metrics`, `/livez`, "
        "and `/readyz`.",
    )
    metrics_address: str = Field(
        "",
        description="Listening address of a separate server for `/metrics`, host:port. If empty, the HTTP server "
        "serves `/metrics`.",
    )
    worker_http_address: str = Field(
        "127.0.0.1:8081",
        description="Listening address of a worker's HTTP server, host:port: `/metrics`, `/livez`, and `/readyz`.",
    )
    heartbeat_seconds: float = Field(
        30.0,
        ge=1,
        le=600,
        description="Time without a heartbeat after which a worker counts as dead, in seconds.",
    )
    tokens: Path | None = Field(
        None,
        description="File of bearer tokens, one per line, as `errata token` writes them. If unset, callers need no "
        "token.",
    )
    token_requests: int = Field(
        0,
        ge=0,
        description="Maximum number of requests per minute of a token without `requests=` in its line. If 0, there is "
        "no limit.",
    )
    token_open: int = Field(
        0,
        ge=0,
        description="Maximum number of open model analyses of a token without `open=` in its line. If 0, there is no "
        "limit.",
    )
    isolate_owners: bool = Field(
        False,
        description="If `true`, only the analyses that a token has created exist for it, unless its scope is `admin`. "
        "It requires `ERRATA_TOKENS`.",
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file of the server certificate, with a key of the type RSA, P-256, or P-384. If unset, the "
        "servers use plain text.",
    )
    tls_key: Path | None = Field(
        None, description="PEM file of the private key of `ERRATA_TLS_CERTIFICATE`, which must not be encrypted."
    )
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of the CA certificates that verify client certificates. If unset, clients need no "
        "certificate.",
    )
    watched_models: list[str] = Field(
        ["*"],
        description="JSON list of the models whose latest results are exported as metrics, as glob patterns over "
        "model names. The default exports all models.",
    )
    max_watched: int = Field(
        50, ge=0, le=1000, description="Maximum number of models whose results are exported as metrics, newest first."
    )
    allow_insecure: bool = Field(
        False,
        description="If `true`, `ERRATA_GRPC_ADDRESS` and `ERRATA_HTTP_ADDRESS` may be beyond loopback without tokens. "
        "`ERRATA_METRICS_ADDRESS` and `ERRATA_WORKER_HTTP_ADDRESS`, which never need a token, always may.",
    )
    shard_size: int = Field(
        5000, ge=1, le=1_000_000, description="Number of images per shard, the unit of work and of retry."
    )
    max_open: int = Field(
        256,
        ge=1,
        le=1_000_000,
        description="Maximum number of open model analyses. New analyses above it are refused.",
    )
    max_upload_bytes: int = Field(
        256 << 20, ge=1 << 10, description="Maximum size of an uploaded file as transmitted, in bytes."
    )
    max_stored_bytes: int = Field(
        0,
        ge=0,
        description="Size of the archive above which new analyses are refused, in bytes. If 0, there is no limit.",
    )
    retention_days: float = Field(
        0,
        ge=0,
        le=36_500,
        description="Age at which an archived analysis is deleted, in days. If 0, none is deleted. This setting has "
        "no effect on failed and canceled analyses, which are deleted after 7 days.",
    )
    max_uploads: int = Field(
        8,
        ge=1,
        le=1024,
        description="Maximum number of concurrent uploads. One token may use half of them. The service refuses more "
        "uploads and returns a retry delay.",
    )
    parsers: int = Field(
        2,
        ge=1,
        le=64,
        description="Number of sandboxed processes that parse binary uploads. Further uploads wait.",
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Number of images per batch of a worker.")
    threads: int = Field(0, ge=0, le=1024, description="Number of CPU threads of a worker. If 0, one per core.")
    device: str = Field(
        "", description="Device that runs models: `cpu`, `cuda:N`, or `mps`. If empty, a GPU if there is one."
    )
    clip_model: str = Field(
        "", description="Architecture of the CLIP encoder, as open_clip names it. If empty, `ViT-L-14-336`."
    )
    clip_weights: str = Field(
        "", description="Weights of the CLIP encoder: a tag of open_clip or a local file. If empty, `openai`."
    )
    clip_activation: Literal["", "quick_gelu", "gelu"] = Field(
        "",
        description="Activation function that the weights of the CLIP encoder were trained with, `quick_gelu` or "
        "`gelu`. A local file needs it. If empty, that of the tag.",
    )
    grace_seconds: float = Field(
        20.0, ge=0, le=3600, description="Time that open calls may take to finish after SIGTERM, in seconds."
    )
    log_level: str = Field("info", description="Log level: `debug`, `info`, `warning`, or `error`.")
    log_format: str = Field(
        "auto", description="Log format: `json`, `text`, or `auto`, which is text on a terminal and JSON elsewhere."
    )
    server: str = Field("127.0.0.1:50051", description="Client: address of the gRPC API, host:port.")
    token: SecretStr | None = Field(None, description="Client: bearer token. If unset, calls have no token.")
    tls: bool = Field(
        False,
        description="Client: if `true`, connect with TLS. `ERRATA_CA_FILE` and `ERRATA_CLIENT_CERTIFICATE` also enable "
        "TLS.",
    )
    ca_file: Path | None = Field(
        None,
        description="Client: PEM file of the CA certificates that verify the server. If unset, those of the system.",
    )
    client_certificate: Path | None = Field(
        None, description="Client: PEM file of the client certificate. If unset, the client sends none."
    )
    client_key: Path | None = Field(
        None,
        description="Client: PEM file of the private key of `ERRATA_CLIENT_CERTIFICATE`, which must not be encrypted.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="URL of the Redis server that holds the queue, open jobs, and caches. If unset, only `--local` "
        "works.",
    )

    @field_validator("evidence", "attributes", mode="before")
    @classmethod
    def _wrap_single_path(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        wrapped = {name: [paths] if isinstance(paths, str) else paths for name, paths in value.items()}
        for name, paths in wrapped.items():
            if isinstance(paths, list) and "" in paths:  # Path("") is the current folder
                raise _invalid_path(name, paths)
        return wrapped

    @field_validator("evidence", "images", "attributes")
    @classmethod
    def _check_paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, paths in value.items():
            if not paths or any("\0" in str(path) for path in paths):
                raise _invalid_path(name, paths if isinstance(paths, str) else list(map(str, paths)))
        return value

    @field_validator("archive")
    @classmethod
    def _check_folder(cls, value: str) -> str:
        if value and not is_remote(value):
            path = value.removeprefix("file://")
            if os.path.exists(path) and not os.path.isdir(path):  # False for a path that cannot be read now
                raise ValueError(f"{value!r:.120} is not a folder; use a folder or the URL of an object store")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value and (not is_http_url(value) or set("@?#") & set(value)):
            # The message does not have the value, which can contain a password.
            raise ValueError("invalid URL; use https://HOST:PORT/PATH without a user name, a query, and a fragment")
        return value

    @field_validator("model_memory_bytes")
    @classmethod
    def _check_memory(cls, value: int) -> int:
        if 0 < value < MIN_MODEL_MEMORY:
            raise ValueError(f"{value} is too little to start the process; use 0 or at least {MIN_MODEL_MEMORY}")
        return value

    @field_validator("registries")
    @classmethod
    def _check_ids(cls, value: dict[str, RegistrySettings]) -> dict[str, RegistrySettings]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
                raise ValueError(f"invalid id {name!r:.80}; use up to 64 letters, digits, and the characters . _ -")
        return value

    @field_validator("log_level", "log_format")
    @classmethod
    def _check_choice(cls, value: str, info: Any) -> str:
        choices = {"log_level": ("debug", "info", "warning", "error"), "log_format": ("auto", "json", "text")}[
            info.field_name
        ]
        if value.lower() not in choices:
            raise ValueError(f"unknown value {value!r}; use one of {', '.join(choices)}")
        return value.lower()

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if value and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", value):
            raise ValueError(f"unknown device {value!r:.40}; use cpu, cuda:N, or mps")
        return value

    @field_validator("grpc_address", "http_address", "metrics_address", "worker_http_address", "server")
    @classmethod
    def _check_address(cls, value: str, info: Any) -> str:
        if not value and info.field_name == "metrics_address":
            return value
        host, _, port = value.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"invalid address {value!r}; use host:port with a port from 0 to 65535")
        return value

    @property
    def archive_location(self) -> str:
        """Return the folder or URL of the archive."""
        return self.archive or str(self.data_dir / "archive")


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from environment variables.

    Args:
        environment: Variables; those of the process by default. An empty variable counts as unset.
        **overrides: Values that replace those of variables, such as values of command-line options.

    Raises:
        InvalidSetting: If a variable is unknown or its value is invalid.
    """
    environment = os.environ if environment is None else environment
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    _refuse_unknown(environment, known)
    values: dict[str, Any] = {}
    for variable, name in known.items():
        if environment.get(variable) and name not in overrides:
            values[name] = _decode(variable, name, environment[variable])
    try:
        return Settings(**values, **overrides)
    except ValidationError as error:
        violations = [
            Violation(
                PREFIX + str(problem["loc"][0]).upper(),
                _location_prefix(problem["loc"])
                + _description(problem["msg"], REDACTED if problem["loc"][0] in SECRET_SETTINGS else problem["input"]),
            )
            for problem in error.errors(include_url=False)
        ]
        first = violations[0]
        raise InvalidSetting(f"{first.field}: {first.description}.", violations=violations) from None


def warn_about_missing_paths(settings: Settings) -> None:
    """Log a warning for each path of ERRATA_IMAGES and ERRATA_MODELS that does not exist."""
    paths = [
        ("ERRATA_IMAGES", dataset, Path(place)) for dataset, place in settings.images.items() if not is_remote(place)
    ]
    if settings.models is not None:
        paths.append(("ERRATA_MODELS", "", settings.models))
    for variable, dataset, path in paths:
        if not path.exists():
            _log.warning("path not found", setting=variable, dataset=dataset, path=str(path))


def warn_about_unreadable_images(settings: Settings) -> None:
    """Log a warning for each place of ERRATA_IMAGES that a worker cannot read, such as a URL, which is for pages."""
    for dataset, place in settings.images.items():
        if is_remote(place) or (os.path.isfile(place) and Path(place).suffix != ".tar"):
            problem = "worker cannot read images: not a folder or .tar file"
            _log.warning(problem, setting="ERRATA_IMAGES", dataset=dataset, path=place)


def _invalid_path(dataset: str, paths: object) -> ValueError:
    return ValueError(f"expected a path for the data set {dataset!r:.80}, got {paths!r:.80}; write one")


def _location_prefix(location: tuple[int | str, ...]) -> str:
    """Return the start of an error message: the position of the error inside the JSON value of a variable."""
    inside = ".".join(map(str, location[1:]))
    return f"at {inside}: " if inside else ""


def _description(message: str, value: object) -> str:
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")  # contains the value, unless it is secret
    message = message.replace("Input should be", "expected", 1)
    return message if value is REDACTED else f"{message}, got {value!r:.80}"


def _decode(variable: str, name: str, value: str) -> Any:
    """Return the value of a setting; the text of a list or a dictionary is JSON."""
    json_type, is_secret = get_origin(Settings.model_fields[name].annotation), name in SECRET_SETTINGS
    if json_type not in (list, dict):
        return value
    expected = "a JSON list" if json_type is list else "a JSON object"
    value_text = REDACTED if is_secret else repr(value)[:80]
    try:
        raw = parse_json(value)
    except ValueError as error:
        raise InvalidSetting(
            f"{variable}: {value_text} is not {expected}: {error}. Correct the JSON.", field=variable
        ) from (None if is_secret else error)
    if not isinstance(raw, json_type):
        raise InvalidSetting(f"{variable}: {value_text} is not {expected}. Use {expected}.", field=variable)
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
        names = [name.removeprefix(PREFIX) for name in known]
        unknown = variable.removeprefix(PREFIX)
        transposed = [name for name in names if sorted(name) == sorted(unknown)]
        nearest = transposed or difflib.get_close_matches(unknown, names, n=1, cutoff=0.5)
        remedy = f"Did you mean {PREFIX}{nearest[0]}?" if nearest else "Correct its name, or unset it."
        raise InvalidSetting(f"Unknown setting {variable}. {remedy}", field=variable)
