"""Settings: names, defaults, bounds, and error messages that name the variable and its value."""

import json
import re
from pathlib import Path

import pytest
from errata.errors import InvalidSetting
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from service.jobs.transaction import FINISHED_TTL
from service.settings import Settings, read_settings, warn_about_missing_paths, warn_about_unreadable_images

DEFAULTS = {  # manifests and scripts rely on these
    "grpc_address": "127.0.0.1:50051",
    "http_address": "127.0.0.1:8080",
    "shard_size": 5000,
    "max_open": 256,
    "allow_insecure": False,
    "server": "127.0.0.1:50051",
    "token": None,
    "redis_url": None,
    "evidence": {},
    "images": {},
}
BOUNDS = [
    ("SHARD_SIZE", "1", "1000000", "0", "1000001"),
    ("RETENTION_DAYS", "0", "36500", "-1", "inf"),
    ("MAX_OPEN", "1", "1000000", "0", "1000001"),
    ("MAX_UPLOADS", "1", "1024", "0", "1025"),
    ("MAX_UPLOAD_BYTES", "1024", str(1 << 40), "1023", "-1"),
    ("BATCH_SIZE", "1", "4096", "0", "4097"),
    ("THREADS", "0", "1024", "-1", "1025"),
    ("MAX_MISSING", "0", "1", "-0.01", "1.01"),
    ("THUMBNAIL_CACHE_BYTES", "0", str(1 << 50), "-1", "1.5"),
    ("MAX_PARAMETERS", "1", str(1 << 50), "0", "-1"),
    ("MAX_DOWNLOAD_BYTES", "1", str(1 << 50), "0", "-1"),
    ("GRACE_SECONDS", "0", "3600", "-0.1", "3601"),
]


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_defaults_are_stable(name: str) -> None:
    assert getattr(read_settings({}), name) == DEFAULTS[name]


def test_data_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert read_settings({}).data_dir == tmp_path / "errata"

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({}).data_dir == tmp_path / ".local" / "share" / "errata"


def test_archive_is_in_the_data_folder_by_default() -> None:
    assert read_settings({"ERRATA_DATA_DIR": "/d"}).archive_location == "/d/archive"
    assert read_settings({"ERRATA_DATA_DIR": "/d", "ERRATA_ARCHIVE": "/a"}).archive_location == "/a"


def test_each_variable_sets_its_field() -> None:
    settings = read_settings(
        {
            "ERRATA_SHARD_SIZE": "17",
            "ERRATA_ALLOW_INSECURE": "true",
            "ERRATA_GRPC_ADDRESS": "0.0.0.0:0",
            "ERRATA_HTTP_ADDRESS": "[::1]:8080",
            "ERRATA_LOG_LEVEL": "WARNING",
            "ERRATA_EVIDENCE": '{"demo": "/one", "imagenet": ["/two", "/three"]}',
            "ERRATA_IMAGES": '{"demo": "/images"}',
        }
    )

    assert (settings.shard_size, settings.allow_insecure, settings.log_level) == (17, True, "warning")
    assert (settings.grpc_address, settings.http_address) == ("0.0.0.0:0", "[::1]:8080")
    assert settings.evidence == {"demo": [Path("/one")], "imagenet": [Path("/two"), Path("/three")]}
    assert settings.images == {"demo": "/images"}


def test_override_replaces_an_invalid_variable() -> None:
    assert read_settings({"ERRATA_SHARD_SIZE": "nonsense"}, shard_size=3).shard_size == 3


@pytest.mark.parametrize(("name", "least", "most", "under", "over"), BOUNDS)
def test_value_outside_its_bounds_is_rejected(name: str, least: str, most: str, under: str, over: str) -> None:
    variable = f"ERRATA_{name}"
    for value in (least, most):
        assert getattr(read_settings({variable: value}), name.lower()) == float(value)
    for value in (under, over, "many", "1.5.0", "nan"):
        with pytest.raises(InvalidSetting, match=variable) as error:
            read_settings({variable: value})
        assert error.value.violations[0].field == variable
        assert f"got {value!r}" in error.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ERRATA_GRPC_ADDRESS", "50051"),
        ("ERRATA_GRPC_ADDRESS", ":50051"),
        ("ERRATA_HTTP_ADDRESS", "localhost:"),
        ("ERRATA_METRICS_ADDRESS", "9464"),  # an empty host means all addresses
        ("ERRATA_METRICS_ADDRESS", ":9464"),
        ("ERRATA_HTTP_ADDRESS", "localhost:http"),
        ("ERRATA_SERVER", "localhost:65536"),
        ("ERRATA_SERVER", "localhost:-1"),
        ("ERRATA_SERVER", "localhost:²"),
        ("ERRATA_LOG_LEVEL", "loud"),
        ("ERRATA_LOG_FORMAT", "xml"),
        ("ERRATA_ALLOW_INSECURE", "perhaps"),
        ("ERRATA_EVIDENCE", "/a/path"),
        ("ERRATA_EVIDENCE", '["/a/path"]'),
        ("ERRATA_IMAGES", '{"demo": '),
        ("ERRATA_ARCHIVE", "/dev/null"),
    ],
)
def test_message_names_the_variable_and_its_value(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable) as error:
        read_settings({variable: value})

    assert error.value.violations[0].field == variable
    assert repr(value) in error.value.message


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ERRATA_EVIDENCE", '{"demo": 5}', "at demo: expected a valid list, got 5"),
        ("ERRATA_IMAGES", '{"demo": null}', "at demo: expected a valid string, got None"),
        ("ERRATA_IMAGES", '{"demo": ""}', "expected a path for the data set 'demo', got ''; write one"),
        ("ERRATA_EVIDENCE", '{"demo": ""}', "expected a path for the data set 'demo', got ['']; write one"),
        ("ERRATA_EVIDENCE", '{"demo": []}', "expected a path for the data set 'demo', got []; write one"),
        ("ERRATA_ATTRIBUTES", '{"demo": ["a.csv", ""]}', "for the data set 'demo', got ['a.csv', '']; write one"),
        ("ERRATA_ATTRIBUTES", '{"demo": "a\\u0000b"}', "for the data set 'demo', got ['a\\x00b']; write one"),
        ("ERRATA_MODEL_MEMORY_BYTES", "1", "1 is too little to start the process; use 0 or at least 268435456"),
    ],
)
def test_message_names_the_variable_and_the_wrong_part_of_its_value(variable: str, value: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({variable: value})

    assert error.value.violations[0].field == variable
    assert error.value.message.startswith(f"{variable}: ")
    assert problem in error.value.message


@pytest.mark.parametrize(
    "url",
    [
        "errata.example",
        "http://[",
        "https://errata.example:99999",
        "https://user:hidden@errata.example",
        "https://user:hidden@errata.example:99999",
        "https://errata.example/?token=hidden",
        "https://errata.example/#hidden",
    ],
)
def test_an_invalid_public_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidSetting, match="ERRATA_PUBLIC_URL: invalid URL; use https://") as error:
        read_settings({"ERRATA_PUBLIC_URL": url})

    assert "hidden" not in error.value.message


def test_all_invalid_variables_are_reported_at_once() -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({"ERRATA_SHARD_SIZE": "0", "ERRATA_LOG_LEVEL": "loud", "ERRATA_MAX_OPEN": "5"})

    assert {violation.field for violation in error.value.violations} == {"ERRATA_SHARD_SIZE", "ERRATA_LOG_LEVEL"}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_message_for_a_misspelled_name_suggests_the_correct_one(name: str) -> None:
    correct = f"ERRATA_{name.upper()}"
    misspelled = f"{correct[:-2]}{correct[-1]}{correct[-2]}" if correct[-1] != correct[-2] else correct[:-1]

    with pytest.raises(InvalidSetting) as error:
        read_settings({misspelled: "1"})

    assert error.value.message == f"Unknown setting {misspelled}. Did you mean {correct}?"


def test_message_for_an_unknown_name_suggests_only_a_similar_one() -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({"ERRATA_FOO": "1"})
    with pytest.raises(InvalidSetting, match=r"ERRATA_GRACE\. Did you mean ERRATA_GRACE_SECONDS"):
        read_settings({"ERRATA_GRACE": "1"})

    assert error.value.message == "Unknown setting ERRATA_FOO. Correct its name, or unset it."


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12))
@max_examples(100)
def test_unknown_name_is_rejected(name: str) -> None:
    variable = f"ERRATA_X{name}"

    with pytest.raises(InvalidSetting, match=variable):
        read_settings({variable: "1"})


@pytest.mark.parametrize(
    "variable",
    [
        "ERRATA_SERVICE_HOST",
        "ERRATA_SERVICE_PORT",
        "ERRATA_SERVICE_PORT_GRPC",
        "ERRATA_PORT",
        "ERRATA_PORT_50051_TCP",
        "ERRATA_PORT_50051_TCP_ADDR",
        "ERRATA_API_SERVICE_HOST",
        "ERRATA_API_SERVICE_PORT_HTTP",
        "ERRATA_REDIS_PORT_6379_TCP_PROTO",
        "ERRATA_REFERENCE_DIR",
        "PATH",
        "errata_lower",
        "XERRATA_TOKEN",
    ],
)
def test_injected_variables_are_ignored(variable: str) -> None:
    assert read_settings({variable: "tcp://10.0.0.1:50051"}) == read_settings({})


def test_representations_hide_secrets() -> None:
    settings = read_settings({"ERRATA_TOKEN": "hunter2", "ERRATA_REDIS_URL": "redis://:hunter2@host"})

    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump_json()}"
    assert settings.token is not None
    assert settings.token.get_secret_value() == "hunter2"


@pytest.mark.parametrize("variable", ["ERRATA_MODELS", "ERRATA_TOKEN", "ERRATA_REDIS_URL"])
def test_empty_variable_counts_as_unset(variable: str) -> None:
    """An empty path would mean the working folder, and would permit its files as models."""
    name = variable.removeprefix("ERRATA_").lower()

    assert getattr(read_settings({variable: ""}), name) is None


def test_empty_data_folder_is_not_the_working_folder() -> None:
    assert read_settings({"ERRATA_DATA_DIR": ""}).data_dir == read_settings({}).data_dir


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_has_a_description(name: str) -> None:
    assert Settings.model_fields[name].description


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings({}).shard_size = 1  # type: ignore[misc]


def test_model_sources_are_a_json_list_of_patterns() -> None:
    settings = read_settings({"ERRATA_MODEL_SOURCES": '["timm:*", "hf-hub:timm/*"]'})

    assert settings.model_sources == ["timm:*", "hf-hub:timm/*"]
    assert read_settings({}).model_sources == ["*"]


@pytest.mark.parametrize("value", ["timm:*", '{"timm": "*"}', "[1]", '"timm:*"'])
def test_model_sources_of_another_type_are_rejected(value: str) -> None:
    with pytest.raises(InvalidSetting, match="ERRATA_MODEL_SOURCES"):
        read_settings({"ERRATA_MODEL_SOURCES": value})


@pytest.mark.parametrize("value", ["cpu", "cuda", "cuda:1", "mps"])
def test_device_has_a_name_of_torch(value: str) -> None:
    assert read_settings({"ERRATA_DEVICE": value}).device == value


@pytest.mark.parametrize("value", ["gpu", "cuda:x", "CPU", "cuda:0,1"])
def test_unknown_device_is_rejected(value: str) -> None:
    with pytest.raises(InvalidSetting, match=r"ERRATA_DEVICE: unknown device .* use cpu, cuda:N, or mps"):
        read_settings({"ERRATA_DEVICE": value})


def test_variables_of_the_clip_encoder_are_settings() -> None:
    """clip_weights.py reads them from the environment, where an unknown variable would stop every other command."""
    source = Path(__file__).parents[2] / "service" / "evidence" / "clip_weights.py"
    read = set(re.findall(r"ERRATA_CLIP_[A-Z]+", source.read_text(encoding="utf-8")))

    settings = read_settings(dict.fromkeys(read, "gelu"))

    assert read == {"ERRATA_CLIP_MODEL", "ERRATA_CLIP_WEIGHTS", "ERRATA_CLIP_ACTIVATION"}
    assert settings.clip_activation == "gelu"
    with pytest.raises(InvalidSetting, match=r"ERRATA_CLIP_ACTIVATION: .*'quick_gelu' or 'gelu'"):
        read_settings({"ERRATA_CLIP_ACTIVATION": "swish"})


def test_images_that_workers_cannot_read_are_logged(tmp_path: Path) -> None:
    for name in ("images.zip", "images.tar"):
        (tmp_path / name).touch()
    places = {"zip": f"{tmp_path}/images.zip", "tar": f"{tmp_path}/images.tar", "remote": "s3://bucket/images"}

    with capture_logs() as logs:
        warn_about_unreadable_images(read_settings({"ERRATA_IMAGES": json.dumps(places)}))

    assert [(entry["event"], entry["setting"], entry["dataset"], entry["path"]) for entry in logs] == [
        ("worker cannot read images: not a folder or .tar file", "ERRATA_IMAGES", dataset, places[dataset])
        for dataset in ("zip", "remote")
    ]


def test_missing_paths_of_images_and_models_are_logged(tmp_path: Path) -> None:
    images = f'{{"here": "{tmp_path}", "absent": "{tmp_path}/images"}}'

    with capture_logs() as logs:
        warn_about_missing_paths(read_settings({"ERRATA_IMAGES": images, "ERRATA_MODELS": f"{tmp_path}/models"}))
        warn_about_missing_paths(read_settings({"ERRATA_MODELS": str(tmp_path)}))

    assert [(entry["setting"], entry["dataset"], entry["path"]) for entry in logs] == [
        ("ERRATA_IMAGES", "absent", f"{tmp_path}/images"),
        ("ERRATA_MODELS", "", f"{tmp_path}/models"),
    ]
    assert {entry["log_level"] for entry in logs} == {"warning"}


def test_the_retention_setting_names_the_ttl_of_failed_and_canceled_analyses() -> None:
    description = Settings.model_fields["retention_days"].description or ""

    assert f"failed and canceled analyses, which are deleted after {FINISHED_TTL // 86_400} days" in description
