"""The page about the validity of the error types, from the shipped agreement with experts."""

from docs_site.tables import format_table
from service.evidence.agreement import shipped_agreement
from service.report.agreement_view import agreement_view

INTRODUCTION = """# Validity

An error type is a verdict of rules, not of a person. This page states how often experts agree with it.

## Experts

The authors of "When does dough become a bagel? Analyzing the remaining mistakes on ImageNet" looked at every error that
two strong models make on the multi-label annotation. For each one, a panel named a cause (fine-grained, fine-grained
with a class outside of ImageNet, spurious correlation, or non-prototypical) and a severity (minor, borderline, or
major). Their judgments are in the repository `imagenet-mistakes`.

Errata compares its verdicts with these judgments, over distinct pairs of an image and a prediction. The figures are
those of the default superclasses on `imagenet` without CLIP. They describe the rules, not your model, and they hold for
ImageNet-1k only: the data sets `imagenet` and `imagenet-real`.

## Agreement

"""
COLUMNS = """
| column | definition |
| --- | --- |
| judged | predictions with this verdict that experts judged |
| agreed | of these, predictions for which experts name the same cause |
| precision | agreed, as a portion of judged |
| recall | agreed, as a portion of the predictions for which experts name this cause |
| κ | Cohen's kappa: 1 is full agreement, 0 is the agreement by chance |
| severity agreed | portion of judged: model failures that experts call major, and other types that they do not |

"""
REMAINDER = """
## What follows

* A fine-grained error is one that experts call fine-grained in most cases.
* A spurious correlation is a hint, not a finding: experts name another cause in about two of three cases. Look at the
  images before you act on the count.
* Non-prototypical errors come from a list of the same experts. Their agreement is not independent evidence.
* A model failure is what no rule explains. Experts always name a cause, and most often a fine-grained one, so the count
  of model failures is partly a matter of missing evidence.
* Severity is not the harm of an error; see [Severity](severity.md).

## Your own evidence

`errata evidence agreement` derives the table for any bundle that contains these images, for example one with the
authors' superclasses or with CLIP:

```console
$ errata evidence agreement bundles/imagenet --mistakes imagenet-mistakes/metadata
```

A bundle that was built with `--mistakes` contains the judgments. Then `errata explain`, the pages of images, and
exports with evidence show the cause and the severity that experts gave, beside the verdict. The verdict does not use
them, and they are not part of the digest.

The text of this page is in `docs_site/validity_page.py`, and its numbers are in the package.
"""


def render() -> str:
    """Return the page as Markdown."""
    view = agreement_view(shipped_agreement())
    header = ("error type", "judged", "agreed", "precision", "recall", "κ", "severity agreed")
    table = format_table(header, [row.cells for row in view.rows])
    notes = "".join(f"* {note}\n" for note in (*view.notes, view.severity_note))
    return f"{INTRODUCTION}{table}{COLUMNS}{notes}{REMAINDER}"
