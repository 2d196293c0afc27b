"""Names that the API resolves: classes by name, analyses by the start of their ID or by their display name."""

import io

import pytest
from errata import Client, errors, pb

from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.fixture
def analysis(client: Client, demo_csv: bytes) -> pb.Analysis:
    return client.upload(io.BytesIO(demo_csv), "demo", display_name="named")


@pytest.mark.parametrize("form", ["index", "wordnet_id", "name", "upper_case"])
def test_verdicts_are_filtered_by_the_name_of_a_class(client: Client, analysis: pb.Analysis, form: str) -> None:
    first = next(client.verdicts(analysis.name, pb.VerdictFilter(predicted_class="0")))
    text = {"index": "0", "wordnet_id": "n01440764", "name": "tench", "upper_case": "Tench"}[form]

    by_prediction = [*client.verdicts(analysis.name, pb.VerdictFilter(predicted_class=text))]
    by_label = [*client.verdicts(analysis.name, pb.VerdictFilter(target_class=first.target_name))]

    assert len(by_prediction) == 2
    assert {verdict.predicted_name for verdict in by_prediction} == {"tench"}
    assert first.file_name in [verdict.file_name for verdict in by_label]
    assert {verdict.target for verdict in by_label} == {first.target}


@pytest.mark.parametrize("text", ["tensh", "crane", "1000", "no such class", " "])
def test_an_unknown_or_ambiguous_class_is_rejected(client: Client, analysis: pb.Analysis, text: str) -> None:
    with pytest.raises(errors.InvalidRequest) as error:
        next(client.verdicts(analysis.name, pb.VerdictFilter(target_class=text)))

    assert error.value.violations[0].field == "filter.target_class"
    assert ("tench" in error.value.message) == (text == "tensh"), "similar names are listed"


def test_a_prediction_is_explained_by_the_name_of_its_class(client: Client, analysis: pb.Analysis) -> None:
    image = next(client.verdicts(analysis.name)).file_name

    named = client.explain(analysis.name, image, "great white shark")

    assert named == client.explain(analysis.name, image, 2)
    assert imagenet_1k().names[named.predicted] == "great white shark"
    assert client.explain_prediction("demo", image, "great white shark").predicted == 2


def test_analyses_are_found_by_the_start_of_their_id_and_by_display_name(client: Client, demo_csv: bytes) -> None:
    analyses = [client.upload(io.BytesIO(demo_csv), "demo", display_name=name) for name in ("one", "two", "two")]
    (start,) = {analysis.name.removeprefix("analyses/")[:2] for analysis in analyses}

    def listed(**conditions: str) -> list[str]:
        return [analysis.name for analysis in client.list(pb.AnalysisFilter(**conditions), "create_time")]

    for analysis in analyses:
        assert listed(id_prefix=analysis.name.removeprefix("analyses/")[:-1]) == [analysis.name]
    assert set(listed(id_prefix=start)) >= {analysis.name for analysis in analyses}
    assert listed(display_name="two") == [analyses[1].name, analyses[2].name]
    assert listed(display_name="tw") == []
    assert listed(id_prefix="zzz") == []


@pytest.mark.parametrize("prefix", ["a/b", "é", "a" * 65])
def test_an_id_prefix_of_other_characters_is_rejected(client: Client, prefix: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        next(client.list(pb.AnalysisFilter(id_prefix=prefix)), None)


def test_a_summary_has_a_headline(client: Client, analysis: pb.Analysis) -> None:
    assert "named" in analysis.summary.headline
    assert client.get(analysis.name).summary.headline == analysis.summary.headline
