"""Evaluation results in model cards, read back with huggingface_hub."""

import pytest
import yaml
from errata.errors import InvalidInput
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from service.report.model_card import MAX_METADATA, Evaluation, add_evaluation

EVALUATION = Evaluation(
    "team/net", "c" * 40, "imagenet-real", "a2", "https://errata.example/analyses/a2", [("accuracy", "Top-1", 0.75)]
)
FOREIGN = """\
model-index:
- name: my-net
  results:
  - task: {type: image-classification}
    dataset: {name: ImageNet-1k, type: imagenet-1k}
    metrics: [{type: accuracy, value: 0.81}]
"""


def read(card: str) -> list[tuple[str, float]]:
    """Return the data sets and values of the evaluations of a card."""
    results = ModelCard(card).data.get("eval_results") or []
    return [(result.dataset_name, result.metric_value) for result in results]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("license: mit # why\ntags:\n- a\n", ""),
        ("", "license: mit\n"),
        ("# a comment\nlanguage: no\n", "date: 2024-01-01 # the last\n"),
    ],
)
def test_the_rest_of_the_card_stays_as_it_is(before: str, after: str, newline: str) -> None:
    body = "# Net\n\n---\n\nmodel-index: no metadata\n".replace("\n", newline)
    before, after, foreign = (text.replace("\n", newline) for text in (before, after, FOREIGN))
    card = f"---{newline}{before}{foreign}{after}---{newline}{body}"

    changed = add_evaluation(card, EVALUATION)

    assert changed.startswith(f"---{newline}{before}model-index:{newline}")
    assert changed.endswith(f"{newline}{after}---{newline}{body}")
    assert read(changed) == [("ImageNet-1k", 0.81), ("imagenet-real", 0.75)]
    assert newline == "\n" or "\n" not in changed.replace("\r\n", "")


@pytest.mark.parametrize(
    ("card", "text"),
    [("", ""), ("# Net\n", "# Net\n"), ("---\n---\n# Net\n", "# Net\n"), ("---\nlicense: mit\n---", "")],
)
def test_a_card_without_evaluations_gets_the_first(card: str, text: str) -> None:
    changed = add_evaluation(card, EVALUATION)

    assert read(changed) == [("imagenet-real", 0.75)]
    assert ModelCard(changed).data.get("model_name") == "net"
    assert ModelCard(changed).text == text


@pytest.mark.parametrize("value", ["[{name: my-net, results: []}]  # flow", "[]", "", "null # none"])
def test_metadata_in_flow_style_are_replaced(value: str) -> None:
    changed = add_evaluation(f"---\nmodel-index: {value}\nlicense: mit\n---\n", EVALUATION)

    assert read(changed) == [("imagenet-real", 0.75)]
    assert ModelCard(changed).data.get("license") == "mit"


def test_the_same_evaluation_changes_nothing_and_a_later_one_replaces_it() -> None:
    first = add_evaluation("# Net\n", EVALUATION)
    older, later = (
        Evaluation("team/net", "d" * 40, "imagenet-real", name, "", [("accuracy", "Top-1", value)])
        for name, value in (("a1", 0.1), ("a3", 0.9))
    )

    assert add_evaluation(first, EVALUATION) == first
    assert add_evaluation(first, older) == first
    assert read(add_evaluation(first, later)) == [("imagenet-real", 0.9)]


@pytest.mark.parametrize(
    "metadata",
    [
        "a: [",
        "- a",
        "{a: 1}",
        "model-index: text",
        "model-index: [a]",
        "model-index:\n- name: net\n  results: text",
        "a: &a [1]\nmodel-index:\n- <<: *a",
        "a: !!python/object/apply:os.system [id]\nmodel-index:\n- !!python/object/apply:os.system [id]",
        "a: 1\n...",
        "model-index: []\nmodel-index: []",
        "a: 1\n...\nb: 2",
        "  a: 1",
        "a: " + "[" * 5000,
        "a: " + "x" * MAX_METADATA,
    ],
)
def test_invalid_metadata_are_refused(metadata: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid model card"):
        add_evaluation(f"---\n{metadata}\n---\n# Net\n", EVALUATION)


def _aliases(levels: int, indent: str = "  ") -> str:
    """Return lists of lists, whose values are 9 ** levels if aliases are expanded."""
    lines = [f"a0: &a0 [{', '.join('1' * 9)}]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "".join(f"{indent}{line}\n" for line in lines)


@pytest.mark.parametrize("extra", [_aliases(40), "  a: &a [*a]\n"])
def test_aliases_are_not_expanded(extra: str) -> None:
    changed = add_evaluation(f"---\nmodel-index:\n- name: my-net\n  results: []\n{extra}---\n", EVALUATION)

    assert yaml.safe_load(changed.split("---\n")[1])["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.75


def test_an_analysis_that_is_no_text_is_not_expanded() -> None:
    dataset = "{type: imagenet-1k, config: imagenet-real, name: imagenet-real}"
    entry = f"  - dataset: {dataset}\n    metrics:\n    - args:\n        model_revision: c\n        analysis: *a39\n"

    changed = add_evaluation(f"---\nmodel-index:\n- name: my-net\n{_aliases(40)}  results:\n{entry}---\n", EVALUATION)

    assert len(yaml.safe_load(changed.split("---\n")[1])["model-index"][0]["results"]) == 2


@pytest.mark.parametrize("value", ["0x" + "f" * 40_000, "1" + ":1" * 5_000])
def test_a_number_that_is_too_long_to_convert_keeps_its_text(value: str) -> None:
    changed = add_evaluation(f"---\nmodel-index:\n- name: my-net\n  results: []\n  a: {value}\n---\n", EVALUATION)

    assert f"  a: {value}\n" in changed


def test_merge_keys_are_not_expanded() -> None:
    """Each level would multiply the number of pairs by nine, up to 9^9."""
    levels = "".join(f"k{level}: &k{level} {{<<: [{', '.join([f'*k{level - 1}'] * 9)}]}}\n" for level in range(1, 10))
    changed = add_evaluation(f"---\nk0: &k0 {{a: 1}}\n{levels}---\n", EVALUATION)

    assert "imagenet-real" in changed


@given(
    metadata=st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=3), max_size=3),
        max_size=4,
    ),
    text=st.text(max_size=20),
)
def test_other_metadata_and_text_keep_their_values(metadata: dict[str, object], text: str) -> None:
    block = yaml.safe_dump(metadata, allow_unicode=True) if metadata else ""

    changed = add_evaluation(f"---\n{block}---\n{text}", EVALUATION)

    front = changed.removeprefix("---\n").removesuffix(f"---\n{text}")
    assert changed.endswith(f"---\n{text}")
    values = yaml.safe_load(front)
    assert values.pop("model-index")[0]["results"][0]["metrics"][0]["value"] == 0.75
    assert values == (yaml.safe_load(block) or {})


def test_values_of_other_results_keep_their_text() -> None:
    others = """\
model-index:
- name: my-asr
  results:
  - task: {type: automatic-speech-recognition}
    dataset: {name: CV, type: cv, config: no, args: 12:30:45, revision: "1e5", split: 012, on: 1_000}
    metrics: [{type: wer, value: 0.1000000000000000055}]
"""
    after = "\n# SPDX-License-Identifier: MIT\nlicense: mit\n"

    changed = add_evaluation(f"\ufeff---\n{others}{after}---\n", EVALUATION)

    assert changed.startswith("\ufeff---\nmodel-index:\n- name: my-asr\n")
    assert changed.endswith(f"{after}---\n")
    for text in ("config: no", "args: 12:30:45", 'revision: "1e5"', "split: 012", "on: 1_000", "0.1000000000000000055"):
        assert text in changed
    assert changed.count("metrics:") == 2
