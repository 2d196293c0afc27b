"""The documentation: its generated reference is complete, and the names that its pages use exist."""

import html
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import errata
import markdown
import pytest
from errata import v1 as pb
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from docs_site import (
    adr_index,
    cli_page,
    errors_page,
    grpc_pages,
    manuals,
    metrics_page,
    notebook_page,
    python_page,
    settings_page,
)
from docs_site.generated import GENERATED
from service.analyses.policy import parse_policy
from service.api.server import rpc_names
from service.domain import ERROR_TYPES, Measure
from service.evidence.labels import real_labels
from service.image_formats import EXTENSIONS
from service.predictions.model_id import SOURCES
from service.settings import RegistrySettings, RuleSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    + [ROOT / source for source in manuals.MANUALS.values()]
    + list((ROOT / "docs").rglob("*.md"))
)
WITHOUT_SOURCE = {*GENERATED, *manuals.MANUALS}  # pages that are not under docs/
OTHER_VARIABLES = {
    "ERRATA_GRPC_PORT",
    "ERRATA_HTTP_PORT",
    "ERRATA_WORKER_REGISTRIES",
    "ERRATA_REFERENCE_DIR",
    "ERRATA_COMPLETE",
}  # of Compose, tests, and click
VARIABLE = re.compile(r"\bERRATA_[A-Z_]+\b")
MAX_LINE = 120  # characters


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


PUBLIC_INDEX = re.compile(r"pip install\b.*\berrata-(?:client|service)")
INSTALL_PAGE = ROOT / "docs/get-started/install.md"  # it also describes a private index
NOTEBOOK = ROOT / "docs/tutorials/compare_models.ipynb"


@pytest.mark.parametrize("page", [page for page in [*PAGES, NOTEBOOK] if page != INSTALL_PAGE], ids=relative)
def test_installations_do_not_need_a_public_index(page: Path) -> None:
    assert PUBLIC_INDEX.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "client/errata/cli/explain.py"], ids=relative)
def test_images_of_examples_are_evaluated_in_imagenet_real(page: Path) -> None:
    """Images without ReaL labels are not evaluated."""
    names = set(re.findall(r"ILSVRC2012_val_[0-9]{8}\b", page.read_text(encoding="utf-8")))

    assert [name for name in names if not len(real_labels().of(int(name[-8:]) - 1))] == []


@cache
def command() -> click.Group:
    """Return the command `errata` of the distribution that installs it."""
    return importlib.import_module(cli_page.find_command().partition(":")[0]).errata


def subcommands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        subcommand = group.get_command(context, name)
        assert subcommand is not None
        yield name, subcommand


def test_the_reference_lists_every_setting_with_its_meaning() -> None:
    page = settings_page.render()

    for name, field in Settings.model_fields.items():
        assert field.description, f"the setting {name} has no description"
        assert f"`ERRATA_{name.upper()}` |" in page
    for name in (*RegistrySettings.model_fields, *RuleSettings.model_fields):
        assert f"| `{name}` |" in page
    assert "one of `quick_gelu`, `gelu`" in page  # the empty default is not listed


def test_the_reference_lists_every_error_reason() -> None:
    page = errors_page.render()

    assert [error.reason for error in errors_page.iterate_errors() if f"`{error.reason}` |" not in page] == []


def test_the_reference_lists_every_metric() -> None:
    page = metrics_page.render()
    source = (ROOT / "service" / "telemetry.py").read_text(encoding="utf-8")
    defined = set(re.findall(r'"(errata_[a-z0-9_]+)"', source))

    assert defined
    assert [name for name in sorted(defined) if not re.search(rf"`{name}(_total)?` \|", page)] == []


def test_the_reference_lists_every_command_and_option() -> None:
    page = markdown.markdown(cli_page.render(), extensions=["mkdocs-click", "fenced_code", "tables"])
    text = html.unescape(page)
    assert "UNSET" not in text

    for name, subcommand in subcommands(command()):
        (section,) = re.findall(rf"<h3[^>]*>{name}</h3>(.*?)(?=<h3|$)", page, re.DOTALL)
        for option in (parameter for parameter in subcommand.params if isinstance(parameter, click.Option)):
            assert f"<code>{option.opts[0]}</code>" in section, (name, option.opts)
        for line in getattr(subcommand, "examples", "").strip().splitlines():
            assert f"$ {line.strip()}" in text


def test_the_reference_lists_every_rpc_message_field_and_enum_value() -> None:
    services, messages, enums = (render() for render in grpc_pages.PAGES.values())
    assert [name for name in rpc_names() if f"### {name}\n" not in services] == []
    for value in vars(pb).values():
        if isinstance(value, type) and issubclass(value, Message):
            section = messages.split(f"## {value.DESCRIPTOR.name}\n", 1)[1].split("\n## ", 1)[0]
            assert [field.name for field in value.DESCRIPTOR.fields if f"| `{field.name}` |" not in section] == []
    for enum in (pb.Analysis.State, *(value for value in vars(pb).values() if isinstance(value, EnumTypeWrapper))):
        assert [name for name, _ in enum.items() if f"| `{name}` |" not in enums] == []


def test_the_reference_lists_every_public_name_of_the_client() -> None:
    page = python_page.render()

    assert [name for name in errata.__all__ if name != "pb" and f"::: errata.{name}\n" not in page] == []


def test_every_error_in_the_proto_exists() -> None:
    protos = "\n".join(path.read_text() for path in (ROOT / "protos" / "errata" / "v1").glob("*.proto"))
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", "\n".join(re.findall(r"Errors:.*(?:\n\s*//.*)*", protos))))
    codes = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}

    assert named - codes <= {error.reason for error in errors_page.iterate_errors()}
    assert named & codes


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_variable_on_a_page_is_a_setting(page: Path) -> None:
    known = {f"ERRATA_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES

    assert set(VARIABLE.findall(page.read_text(encoding="utf-8"))) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_line_on_a_page_has_known_commands_and_options(page: Path) -> None:
    for block in code_blocks(page, "console"):
        for line in re.findall(r"^ *\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            words = shlex.split(line, comments=True)
            if "errata" in words:
                check_command_line(words[words.index("errata") + 1 :])


def check_command_line(words: list[str]) -> None:
    """Assert that the subcommand and its options exist."""
    current: click.Command = command()
    for word in words:
        if word in (">", ">>", "2>", "2>>", "|", "&"):
            break
        if word.startswith("--"):
            options = {name for parameter in current.params for name in parameter.opts + parameter.secondary_opts}
            assert word.partition("=")[0] in options | {"--help"}, words
        elif isinstance(current, click.Group):
            subcommand = current.get_command(click.Context(current), word)
            assert subcommand is not None, words
            current = subcommand


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_to_a_file_resolves(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    generated = {(ROOT / "docs" / name).resolve() for name in WITHOUT_SOURCE}

    targets = [(page.parent / link).resolve() for link in links if link]
    assert [target for target in targets if not target.exists() and target not in generated] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_no_line_outside_tables_is_longer_than_120_characters(page: Path) -> None:
    prefix = () if page == ROOT / "README.md" else "|"  # the readme is also read as plain text
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)

    assert [number for number, line in lines if len(line) > MAX_LINE and not line.startswith(prefix)] == []


def test_the_rows_of_the_architecture_are_layers_of_the_import_rules() -> None:
    page = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`\w+`.*?) \|", page.partition("\n## Code\n")[2], re.MULTILINE)
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    layers = tools["importlinter"]["contracts"][0]["layers"]
    ranks = {name: rank for rank, layer in enumerate(layers) for name in layer.split(" | ")}
    rows = [[ranks[name] for name in re.findall(r"`(\w+)`", cell)] for cell in cells]

    assert rows and [min(row) for row in rows] == [max(row) for row in rows] == sorted(map(min, rows))


def test_every_file_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([a-z_/]+\.(?:py|json|npz|md|lua|yaml))`", text) if "/" in name]

    assert named
    assert [name for name in named if not ((ROOT / "service" / name).is_file() or (ROOT / name).is_file())] == []


def test_the_guides_list_every_error_type_model_source_extension_and_gate_measure() -> None:
    models, gates = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("how-to/models.md", "how-to/gates.md")
    )
    types = GENERATED["reference/error-types.md"]()

    assert [error_type.name for error_type in ERROR_TYPES if f"| `{error_type.key}` |" not in types] == []
    assert [source for source in SOURCES if f"| `{source}:" not in models] == []
    extensions = models.split("\nErrata finds only images ")[1].split("\n\n")[0]
    assert re.findall(r"`(\.\w+)`", extensions) == [*EXTENSIONS]
    assert [measure.value for measure in Measure if f"`{measure.value}`" not in gates] == []


def test_the_policy_of_the_guide_is_valid() -> None:
    text = next(block for block in code_blocks(ROOT / "docs" / "how-to" / "gates.md", "yaml") if "bounds:" in block)

    policy = parse_policy(text)

    assert policy.name == "release" and policy.needs_baseline and len(policy.bounds) == 3


def test_the_pandas_example_counts_errors_without_problematic_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = code_blocks(ROOT / "docs" / "how-to" / "export-verdicts.md", "python")
    code = next(block for block in blocks if "read_json" in block)
    (tmp_path / "out").mkdir()
    line = {"file_name": "a", "error_type": "model_failure", "target": 0, "target_name": "tench"}
    lines = [line | {"problematic": tags} for tags in ([], [], ["PROBLEMATIC_TAG_UNTAGGED"])]
    (tmp_path / "out" / "verdicts.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in lines))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(code, names)

    assert (len(names["verdicts"]), len(names["errors"])) == (3, 2)


def test_every_threat_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "operations" / "threat-model.md").read_text(encoding="utf-8")
    folders = dict(re.findall(r"`([A-Z])`\s(?:stands\s)?for\s`([\w/]+)`", page))
    section = page.split("\n## Threats\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if row[0].strip() not in ("threat", "---")]

    assert len(threats) > 40
    missing = []
    for threat, _, shown in threats:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", shown)
        assert named or "dependency" in threat, f"no test shows the protection: {threat}"
        for file, test in named:
            first, _, rest = file.partition("/")
            path = ROOT / folders.get(first, first) / rest
            if not path.is_file() or not re.search(rf"^(async )?def {test}\(", path.read_text(), re.MULTILINE):
                missing.append(f"{file}::{test}")
    assert missing == []


def test_every_statistic_names_its_source_and_tests_that_exist() -> None:
    page = (ROOT / "docs" / "concepts" / "statistics.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:2] == "| "]
    statistics = [row for row in rows if row[0] not in ("statistic", "---")]

    assert len(statistics) > 20
    assert {len(row) for row in statistics} == {4}
    named = {name: re.findall(r"`([\w/]+\.py)`", tests) for name, *_, tests in statistics}
    assert [name for name, files in named.items() if not files] == []
    assert [file for files in named.values() for file in files if not (ROOT / file).is_file()] == []
    sources = page.split("\n## Sources\n", 1)[1]
    cited = {
        author for _, _, source, _ in statistics for author in re.findall(r"[A-Z]\w+(?= et al\.| and | \()", source)
    }
    assert [author for author in sorted(cited) if author not in sources] == []


def test_decisions_are_numbered_and_have_the_sections_of_a_record() -> None:
    records = adr_index.list_records()

    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        headings = re.findall(r"^## (.+)$", record.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], record.name


def test_the_readme_and_the_contributing_guide_fit_on_a_page() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 120, name


def test_the_screenshot_is_small_enough_for_the_readme() -> None:
    assert 10_000 < (ROOT / "docs" / "images" / "report.png").stat().st_size < 300_000


def test_links_out_of_the_documentation_lead_to_pages_and_copies() -> None:
    text = "[a](../../deploy/README.md#redis) [b](../../deploy/examples/release.yaml) [c](gates.md) [d](../../deploy)"

    adapted, linked = manuals.adapt_links(text, "how-to/x.md")

    assert adapted == "[a](../operations/manual.md#redis) [b](../files/deploy/examples/release.yaml) [c](gates.md) d"
    assert linked == {"deploy/examples/release.yaml"}
    with pytest.raises(ValueError, match="does not exist"):
        manuals.adapt_links("[a](../../missing.md)", "how-to/x.md")


def test_a_notebook_becomes_a_page_without_scripts(tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["first\n"]},
        {"output_type": "display_data", "data": {"text/html": ["<table></table>"], "text/plain": ["a table"]}},
        {"output_type": "display_data", "data": {"text/html": ["<script></script>"], "text/plain": ["a chart"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {"cell_type": "code", "source": ["print('first')"], "outputs": outputs},
    ]
    notebook = tmp_path / "example.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))

    page = notebook_page.render(notebook)

    assert page.startswith("# Title\n\n[Download this notebook](example.ipynb).\n")
    assert "```python\nprint('first')\n```" in page and "```text\nfirst\n```" in page
    assert "<table></table>" in page and "```text\na chart\n```" in page and "<script" not in page
