"""Proposes superclasses for classes that have none, and writes them to a file for a person to edit."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from errata.errors import InvalidEvidence

from service.bootstrap.dataset_check import Inputs, check_files
from service.domain import AnalysisRequest, LabelSpace, RowOrder
from service.evidence.class_files import read_classes
from service.evidence.class_similarity import (
    MIN_CONFUSION,
    MIN_TEXT_SIMILARITY,
    confusion_similarities,
    text_similarities,
)
from service.evidence.class_synsets import find_senses
from service.evidence.encoder import load_encoder
from service.storage import create_file
from service.taxonomy.class_clusters import Similarities, cluster_classes
from service.taxonomy.common_hypernyms import common_hypernyms

NAME = "my-data-set"  # the name of a label space is not part of the file
Superclass = tuple[str, tuple[int, ...]]  # name and classes


@dataclass(frozen=True)
class ProposalInputs:
    """Files and options. Superclasses come from the predictions, the encoder, or else from WordNet."""

    classes: Path
    labels: Path | None = None
    predictions: Path | None = None
    encoder: str = ""  # MODULE:CLASS
    row_order: RowOrder = RowOrder.UNSPECIFIED  # of predictions without file names
    max_size: int = 10  # classes in a superclass
    max_bytes: int = 1 << 30  # of the predictions


@dataclass(frozen=True)
class SuperclassProposal:
    """The proposed superclasses, and the superclasses that the classes already have."""

    label_space: LabelSpace
    origin: str  # for messages
    superclasses: tuple[Superclass, ...]  # proposed for the classes that have none
    notes: tuple[str, ...] = ()

    @property
    def num_classes_with_proposal(self) -> int:
        """Return the number of classes that got a superclass."""
        return len({class_ for _, classes in self.superclasses for class_ in classes})

    def to_csv(self) -> bytes:
        """Return the content of a file of superclasses: `class,superclasses`, with all classes, in order.

        Raises:
            InvalidEvidence: A class or superclass cannot be written.
        """
        space = self.label_space
        names = [list(space.superclasses.names_of(class_)) for class_ in range(space.num_classes)]
        if unsafe := next((name for name in space.superclasses.ids if ";" in name), ""):
            raise InvalidEvidence(
                f"The superclass {unsafe!r:.60} contains a semicolon, which separates superclasses in the file. Rename "
                "it in the file of classes.",
                field="superclasses",
            )
        for name, classes in self.superclasses:
            for class_ in classes:
                names[class_].append(name)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("class", "name", "superclasses"))
        for class_, superclasses in enumerate(names):
            writer.writerow((_identify(space, class_), space.names[class_], ";".join(superclasses)))
        return text.getvalue().encode()


def propose_superclasses(inputs: ProposalInputs) -> SuperclassProposal:
    """Propose superclasses for the classes that have none.

    Raises:
        InvalidEvidence: A file is invalid, or every class already has a superclass.
    """
    if inputs.predictions is not None and inputs.encoder:
        raise InvalidEvidence("Use either --predictions or --encoder, not both.", field="encoder")
    if (inputs.predictions is None) != (inputs.labels is None):
        missing = "predictions" if inputs.predictions is None else "labels"
        raise InvalidEvidence(
            f"Confusions need the predictions of a model and the labels. Add --{missing} FILE.", field=missing
        )
    if inputs.predictions is not None:
        return _from_confusions(inputs, inputs.predictions)
    space = read_classes(inputs.classes, NAME)
    _check_any_open(space, inputs.classes)
    if inputs.encoder:
        similarities = text_similarities(load_encoder(inputs.encoder), space)
        clusters = _clusters(space, similarities, inputs.max_size, MIN_TEXT_SIMILARITY)
        return SuperclassProposal(space, f"the similarity of class names according to {inputs.encoder}", clusters)
    taxonomy, synsets, notes = find_senses(space)
    open_synsets = [None if len(space.superclasses.of(class_)) else synset for class_, synset in enumerate(synsets)]
    superclasses = common_hypernyms(taxonomy, open_synsets, inputs.max_size)
    return SuperclassProposal(space, "WordNet", tuple(superclasses), notes)


def write_proposal(proposal: SuperclassProposal, path: Path) -> None:
    """Write a new file of superclasses.

    Raises:
        InvalidEvidence: The file exists, or cannot be written.
    """
    try:
        if not create_file(path, proposal.to_csv()):
            raise InvalidEvidence(f"{path} exists. Choose another file, or add --force to replace it.", field="output")
    except OSError as error:
        raise InvalidEvidence(f"Cannot write {path}: {error.strerror or error}.", field="output") from error


def _from_confusions(inputs: ProposalInputs, predictions: Path) -> SuperclassProposal:
    source = Inputs(classes=inputs.classes, labels=inputs.labels)
    # A model that confuses classes in pairs looks implausible, and such confusions are what a proposal needs.
    request = AnalysisRequest(NAME, row_order=inputs.row_order, accept_implausible=True)
    files = check_files(request, source, predictions, inputs.max_bytes)
    if files.errors:
        error, more = files.errors[0], len(files.errors) - 1
        place = "" if error.line is None else f", {error.unit} {error.line}"
        raise InvalidEvidence(
            f"{error.file}{place}: {error.message.rstrip('.')}{f' (and {more:,} more)' if more else ''}. "
            "'errata dataset check' lists all errors.",
            field=error.field,
        )
    data = files.dataset
    assert data is not None and data.images is not None and data.predicted is not None, "This is a bug: no errors."
    _check_any_open(data.label_space, inputs.classes)
    similarities = confusion_similarities(data.images, data.predicted, data.label_space.num_classes)
    clusters = _clusters(data.label_space, similarities, inputs.max_size, MIN_CONFUSION)
    return SuperclassProposal(data.label_space, f"the confusions in {predictions.name}", clusters)


def _check_any_open(space: LabelSpace, path: Path) -> None:
    if all(len(space.superclasses.of(class_)) for class_ in range(space.num_classes)):
        raise InvalidEvidence(
            f"{path.name}: all classes have superclasses. Leave the superclasses of some classes empty.",
            field="superclasses",
        )


def _clusters(
    space: LabelSpace, similarities: Similarities, max_size: int, min_similarity: float
) -> tuple[Superclass, ...]:
    """Return clusters of the classes without superclasses, each with the name of its most typical class."""
    is_open = [not len(space.superclasses.of(class_)) for class_ in range(space.num_classes)]
    similar = ((first, second, value) for first, second, value in similarities if is_open[first] and is_open[second])
    used = set(space.superclasses.ids)
    result = []
    for members in cluster_classes(similar, max_size, min_similarity):
        name = f"{space.names[members[0]].replace(';', ',')} and similar"
        if name in used:
            name = f"{name} ({members[0]})"
        used.add(name)
        result.append((name, members))
    return tuple(result)


def _identify(space: LabelSpace, class_: int) -> str:
    """Return a text that identifies only this class in a file."""
    for text in (space.ids[class_], space.names[class_], str(class_)):
        if space.parse(text) == class_:
            return text
    raise InvalidEvidence(
        f"Class {class_} ({space.names[class_]!r:.60}) has no unique ID, name, or index. Change its ID.",
        field="id",
    )
