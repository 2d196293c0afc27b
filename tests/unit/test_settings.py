"""Settings: names, defaults, bounds, and refusals that name the variable, what was expected and what came."""

from pathlib import Path

import pytest
from errata.errors import InvalidSetting
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.settings import Settings, read_settings

# design/contract.md, "Settings that others write"
CONTRACT = {
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
    ("MAX_OPEN", "1", "1000000", "0", "1000001"),
    ("MAX_UPLOADS", "1", "1024", "0", "1025"),
    ("MAX_UPLOAD_BYTES", "1024", str(1 << 40), "1023", "-1"),
    ("BATCH_SIZE", "1", "4096", "0", "4097"),
    ("THREADS", "0", "1024", "-1", "1025"),
    ("MAX_MISSING", "0", "1", "-0.01", "1.01"),
    ("MAX_PARAMETERS", "1", str(1 << 50), "0", "-1"),
    ("MAX_DOWNLOAD_BYTES", "1", str(1 << 50), "0", "-1"),
    ("GRACE_SECONDS", "0", "3600", "-0.1", "3601"),
]


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_default_is_what_the_contract_says(name: str) -> None:
    assert getattr(read_settings({}), name) == CONTRACT[name]


def test_the_data_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert read_settings({}).data_dir == tmp_path / "errata"

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({}).data_dir == tmp_path / ".local" / "share" / "errata"


def test_the_archive_lies_in_the_data_folder_unless_it_is_set() -> None:
    assert read_settings({"ERRATA_DATA_DIR": "/d"}).archive_place == "/d/archive"
    assert read_settings({"ERRATA_DATA_DIR": "/d", "ERRATA_ARCHIVE": "/a"}).archive_place == "/a"


def test_each_variable_sets_its_field() -> None:
    result = read_settings(
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

    assert (result.shard_size, result.allow_insecure, result.log_level) == (17, True, "warning")
    assert (result.grpc_address, result.http_address) == ("0.0.0.0:0", "[::1]:8080")
    assert result.evidence == {"demo": [Path("/one")], "imagenet": [Path("/two"), Path("/three")]}
    assert result.images == {"demo": Path("/images")}


def test_an_override_counts_more_than_the_environment_even_a_bad_one() -> None:
    assert read_settings({"ERRATA_SHARD_SIZE": "nonsense"}, shard_size=3).shard_size == 3


@pytest.mark.parametrize(("name", "least", "most", "under", "over"), BOUNDS)
def test_bounds_are_kept(name: str, least: str, most: str, under: str, over: str) -> None:
    variable = f"ERRATA_{name}"
    for good in (least, most):
        assert getattr(read_settings({variable: good}), name.lower()) == float(good)
    for bad in (under, over, "many", "1.5.0", "nan"):
        with pytest.raises(InvalidSetting, match=variable) as error:
            read_settings({variable: bad})
        assert error.value.violations[0].field == variable
        assert f"got {bad!r}" in error.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ERRATA_GRPC_ADDRESS", "50051"),
        ("ERRATA_GRPC_ADDRESS", ":50051"),
        ("ERRATA_HTTP_ADDRESS", "localhost:"),
        ("ERRATA_METRICS_ADDRESS", "9464"),  # which would listen on every address
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
        ("ERRATA_EVIDENCE", '{"demo": 5}'),
        ("ERRATA_IMAGES", '{"demo": '),
        ("ERRATA_IMAGES", '{"demo": null}'),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_came(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable) as error:
        read_settings({variable: value})

    assert error.value.violations[0].field == variable
    assert "got" in error.value.message


def test_all_bad_values_are_told_at_once() -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({"ERRATA_SHARD_SIZE": "0", "ERRATA_LOG_LEVEL": "loud", "ERRATA_MAX_OPEN": "5"})

    assert {violation.field for violation in error.value.violations} == {"ERRATA_SHARD_SIZE", "ERRATA_LOG_LEVEL"}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_name_that_is_misspelt_stops_the_start_and_the_right_one_is_named(name: str) -> None:
    right = f"ERRATA_{name.upper()}"
    wrong = f"{right[:-2]}{right[-1]}{right[-2]}" if right[-1] != right[-2] else right[:-1]

    with pytest.raises(InvalidSetting) as error:
        read_settings({wrong: "1"})

    assert error.value.message.startswith(f"unknown setting {wrong}: ")
    assert error.value.message.endswith(f" {right}")


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_an_unknown_name_is_never_taken_in_silence(name: str) -> None:
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
def test_what_others_inject_is_ignored(variable: str) -> None:
    assert read_settings({variable: "tcp://10.0.0.1:50051"}) == read_settings({})


def test_secrets_are_not_shown() -> None:
    result = read_settings({"ERRATA_TOKEN": "hunter2", "ERRATA_REDIS_URL": "redis://:hunter2@host"})

    assert "hunter2" not in f"{result} {result!r} {result.model_dump_json()}"
    assert result.token is not None
    assert result.token.get_secret_value() == "hunter2"


@pytest.mark.parametrize("variable", ["ERRATA_MODELS", "ERRATA_TOKEN", "ERRATA_REDIS_URL"])
def test_an_empty_variable_sets_nothing(variable: str) -> None:
    """`NAME=` in a manifest means unset: an empty path is the working folder, whose files would then be permitted."""
    name = variable.removeprefix("ERRATA_").lower()

    assert getattr(read_settings({variable: ""}), name) is None


def test_an_empty_data_folder_is_not_the_working_folder() -> None:
    assert read_settings({"ERRATA_DATA_DIR": ""}).data_dir == read_settings({}).data_dir


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_means(name: str) -> None:
    assert Settings.model_fields[name].description


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings({}).shard_size = 1  # type: ignore[misc]


def test_model_sources_are_a_json_list_of_patterns() -> None:
    result = read_settings({"ERRATA_MODEL_SOURCES": '["timm:*", "hf-hub:timm/*"]'})

    assert result.model_sources == ["timm:*", "hf-hub:timm/*"]
    assert read_settings({}).model_sources == ["*"]


@pytest.mark.parametrize("value", ["timm:*", '{"timm": "*"}', "[1]", '"timm:*"'])
def test_model_sources_that_are_no_list_of_patterns_are_refused(value: str) -> None:
    with pytest.raises(InvalidSetting, match="ERRATA_MODEL_SOURCES"):
        read_settings({"ERRATA_MODEL_SOURCES": value})


@pytest.mark.parametrize("value", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_is_named_as_torch_names_it(value: str) -> None:
    assert read_settings({"ERRATA_DEVICE": value}).device == value


@pytest.mark.parametrize("value", ["gpu", "cuda:x", "CPU", "cuda:0,1"])
def test_another_device_is_refused_before_torch_is_asked(value: str) -> None:
    with pytest.raises(InvalidSetting, match="ERRATA_DEVICE: expected cpu, cuda:N or mps"):
        read_settings({"ERRATA_DEVICE": value})
