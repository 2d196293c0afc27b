"""The documentation lists every setting, RPC, error type, reason, metric, and command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from errata.errors import ErrataError
from errata.v1 import errata_pb2

from service import telemetry
from service.analyses.policy import parse_policy
from service.api.status import code_of
from service.cli.main import COMMANDS
from service.domain import ERROR_TYPES, Measure
from service.predictions.model_id import SOURCES
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def rows(readme: str, title: str) -> list[list[str]]:
    """Return the rows of the table below a heading."""
    section = readme.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def kinds(kind: type[ErrataError]) -> Iterator[type[ErrataError]]:
    for item in kind.__subclasses__():
        yield item
        yield from kinds(item)


def test_the_readme_lists_every_setting(readme: str) -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(readme, "Settings")}

    assert documented == {f"ERRATA_{name.upper()}": field.description for name, field in Settings.model_fields.items()}


def test_the_readme_lists_every_reason_with_its_code(readme: str) -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(readme, "Errors")}

    assert documented == {kind.reason: code_of(kind("")).name for kind in kinds(ErrataError)}


def test_the_operations_manual_lists_every_metric(readme: str) -> None:
    manual = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    table = [line for line in (telemetry.__doc__ or "").splitlines() if line.startswith("errata_")]

    assert "(deploy/README.md#metrics)" in readme
    assert [[row[0].strip("`"), *row[1:]] for row in rows(manual, "Metrics")] == [
        re.split(r"\s{2,}", line) for line in table
    ]


def test_the_readme_lists_every_rpc(readme: str) -> None:
    for service in errata_pb2.DESCRIPTOR.services_by_name.values():
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{service.name}`"))
        assert re.findall(r"`(\w+)`", line)[1:] == [method.name for method in service.methods]


def test_the_readme_lists_every_command_error_type_and_model_source(readme: str) -> None:
    missing = [name for name in COMMANDS if f"errata {name}" not in readme]
    missing += [error_type.name for error_type in ERROR_TYPES if f"| `{error_type.name}` |" not in readme]
    missing += [source for source in SOURCES if f"{source}:" not in readme]

    assert missing == []


def test_every_error_in_the_proto_exists() -> None:
    proto = (ROOT / "protos" / "errata" / "v1" / "errata.proto").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", "\n".join(re.findall(r"// Errors:.*(?:\n\s*//.*)*", proto))))
    codes = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}

    assert named - codes <= {kind.reason for kind in kinds(ErrataError)}
    assert named & codes


def test_every_file_in_contributing_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([a-z_/]+\.(?:py|json|npz|md))`", text) if "/" in name]

    assert named
    assert [name for name in named if not ((ROOT / "service" / name).is_file() or (ROOT / name).is_file())] == []


def test_the_policy_in_the_readme_is_valid(readme: str) -> None:
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "bounds:" in block)

    policy = parse_policy(text)

    assert policy.name == "release" and policy.needs_baseline and len(policy.bounds) == 3
    assert all(f"`{measure.value}`" in readme for measure in Measure)


def test_the_pandas_example_in_the_readme_runs(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "pandas" in block)
    (tmp_path / "out").mkdir()
    line = {"file_name": "a", "error_type": "ERROR_TYPE_MODEL_FAILURE", "target": 0, "target_name": "tench"}
    lines = [line | {"problematic": tags} for tags in ([], [], ["PROBLEMATIC_TAG_UNTAGGED"])]
    (tmp_path / "out" / "verdicts.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in lines))
    monkeypatch.chdir(tmp_path)
    result: dict[str, Any] = {}

    exec(code, result)

    assert (len(result["verdicts"]), len(result["errors"])) == (3, 2)


def test_every_threat_names_existing_tests() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    short = {"P": "tests/unit/predictions", "W": "tests/unit/web", "A": "tests/api", "F": "tests/fuzz"}
    short |= {"S": "tests/security", "R": "tests/processes"}
    for letter, folder in short.items():
        assert f"`{letter}` stands for `{folder}`" in security or f"`{letter}` for `{folder}`" in security
    table = security.split("## Threats", 1)[1].split("\n## ", 1)[0]
    threats = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")][1:]

    assert len(threats) > 20
    for threat, _, tests in threats:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named or "dependency" in threat, f"no test for the threat: {threat}"
        for file, test in named:
            first, _, rest = file.partition("/")
            path = ROOT / short.get(first, first) / rest
            assert re.search(rf"^(async )?def {test}\(", path.read_text(encoding="utf-8"), re.MULTILINE), (file, test)


@pytest.mark.parametrize("name", ["README.md", "deploy/README.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_every_linked_file_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    assert [link for link in links if link and not ((ROOT / name).parent / link).exists()] == []
