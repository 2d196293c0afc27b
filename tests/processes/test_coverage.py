"""The options --min-coverage and --subset: uploads, their output, folders, and gates, in real processes."""

import json
from pathlib import Path

import pytest

from service.evidence.bundle import Bundle

from .conftest import Errata

POLICY = "version: 1\nmin_samples: 1\nbounds:\n- {measure: top1_error_rate, max: 1}\n"


@pytest.fixture
def partial(demo: Bundle, tmp_path: Path) -> Path:
    """Predictions of 15 of the 20 images."""
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, demo.all_targets.tolist(), strict=True)]
    file = tmp_path / "partial.csv"
    file.write_text("file_name,top1\n" + "\n".join(rows[:15]) + "\n")
    return file


@pytest.fixture
def subset(demo: Bundle, tmp_path: Path) -> Path:
    """The names of the first ten images."""
    file = tmp_path / "subset.txt"
    file.write_text("\n".join(demo.judged_names[:10]) + "\n")
    return file


def test_a_partial_upload_shows_its_coverage_and_fails_a_gate(
    errata: Errata, partial: Path, demo: Bundle, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    command = ["analyze", "--local", "--predictions", str(partial), "--dataset", "demo"]

    done = errata(*command, "--output", str(tmp_path / "out"), "--gate", str(policy))

    assert done.returncode == 1, done.stderr  # the gate fails
    assert "Coverage: 15 of 20 images (75.0 %)" in done.stdout
    assert "Warning: The predictions cover 15 of 20 images (75.0 %)." in " ".join(done.stdout.split())
    assert "Coverage: 15 of 20 images (75.0 %)" in errata("show", str(tmp_path / "out")).stdout
    explained = errata("explain", demo.judged_names[0], "--analysis", str(tmp_path / "out"))
    assert explained.stdout.startswith("Coverage: 15 of 20 images (75.0 %).\n")
    report = " ".join((tmp_path / "out" / "report.html").read_text().split())  # also at no-break spaces
    assert "15 of 20 images (75.0 %)" in report
    failed = errata("gate", str(tmp_path / "out"), "--policy", str(policy), "--json")
    assert failed.returncode == 1
    coverage, _ = json.loads(failed.stdout)["reasons"]
    assert (coverage["value"], coverage["limit"]) == (0.75, 0.99)
    assert "15 of 20 images (75.0 %); at least 99 % is required." in coverage["message"]
    passed = errata("gate", str(tmp_path / "out"), "--policy", str(policy), "--min-coverage", "0.75")
    assert passed.returncode == 0, passed.stdout


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--min-coverage", "0.75"), 0), (("--min-coverage", "0"), 0)])
def test_the_minimum_of_an_upload_has_precedence_over_that_of_its_gate(
    errata: Errata, partial: Path, tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("version: 1\n", "version: 1\nmin_coverage: 0.9\n"))

    done = errata(
        *("analyze", "--local", "--predictions", str(partial), "--dataset", "demo", "--gate", str(policy)), *options
    )

    assert done.returncode == code, done.stderr


def test_an_upload_below_the_minimum_is_invalid_input(errata: Errata, partial: Path, demo: Bundle) -> None:
    command = ["analyze", "--local", "--predictions", str(partial), "--dataset", "demo", "--min-coverage"]

    refused = errata(*command, "0.8")

    assert refused.returncode == 2
    assert "At least 80 % is required (--min-coverage)" in " ".join(refused.stderr.split())
    assert demo.judged_names[15] in refused.stderr
    assert errata(*command, "75").returncode == 2  # not a percentage


def test_a_subset_is_stored_with_the_analysis(errata: Errata, partial: Path, subset: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    command = ["analyze", "--local", "--predictions", str(partial), "--dataset", "demo", "--output"]

    done = errata(*command, str(tmp_path / "out"), "--subset", str(subset), "--gate", str(policy))
    whole = errata(*command, str(tmp_path / "whole"))

    assert done.returncode == whole.returncode == 0, done.stderr
    assert "10 of 10 images of a subset (100.0 %)" in " ".join(done.stdout.split())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["subset"]["num_images"], summary["subset"]["num_judged"]) == (10, 10)
    compared = errata("compare", str(tmp_path / "out"), str(tmp_path / "whole"))
    coverage = (
        "Compared on 10 images with predictions in both analyses, without problematic images. Coverage of A: "
        "10 of 10 images of a subset (100.0 %); the "
        "data set has 20 evaluated images. Coverage of B: 15 of 20 images (75.0 %).\n"
    )
    assert coverage in compared.stdout
    assert compared.stdout.index(coverage) < compared.stdout.index("top-1 accuracy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "has no names"),
        (b"\xff\xfea", "is not UTF-8 text: see line 1"),
        (b"zzz.jpg\n", "Line 1 of the subset file: Image 'zzz.jpg' is not in data set 'demo'"),
    ],
)
def test_a_wrong_subset_file_is_named(
    errata: Errata, partial: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "subset.txt").write_bytes(content)

    refused = errata(
        *("analyze", "--local", "--predictions", str(partial), "--dataset", "demo"),
        *("--subset", str(tmp_path / "subset.txt")),
    )

    assert refused.returncode == 2
    assert message in " ".join(refused.stderr.split())


@pytest.mark.parametrize("option", [("--min-coverage", "0.5"), ("--subset", "subset.txt")])
def test_the_options_need_a_predictions_file(errata: Errata, option: tuple[str, str]) -> None:
    refused = errata("analyze", "--local", "demo:efficientnet_lite0", *option)

    assert refused.returncode == 2
    assert f"{option[0]} needs --predictions" in refused.stderr
