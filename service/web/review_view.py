"""The content of the pages of reviews, as records for the templates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from errata.messages import LABEL_SOURCE_NAMES, MISSING, format_percentage

from service.analyses.class_names import identify_class
from service.analyses.class_search import search_classes
from service.analyses.review_details import ReviewDetails
from service.analyses.review_queue import QueueItem, QueueReason, ReviewQueue
from service.domain import Analysis, Review, undone_ids
from service.evidence.bundle import Bundle
from service.report.class_names import display_names, shorten
from service.report.direction import isolate
from service.report.elements import css_class
from service.report.messages import review as messages
from service.report.messages.coverage import partial_coverage_note
from service.report.messages.pages import identity_text
from service.report.urls import image_url, picture_url, queue_url, review_url, thumbnail_url
from service.web.review_form import CLASS_FIELD, ReviewForm

MAX_LABELS = 50  # labels, and other classes, of one image on a page
MAX_NAMES = 20  # classes in one sentence, and conflicts
MAX_FOUND = 20  # classes of a search on a page
MAX_OPTIONS = 2_500  # classes that a page lists; for data sets with more, the page has only the search
PAGE_SIZE = 50  # images on a page of the queue
MAX_REVIEWS = 50  # newest reviews of one image on a page


@dataclass(frozen=True)
class Choice:
    """A class about which the reviewer can make a statement."""

    name: str
    class_id: str
    field: str
    notes: tuple[str, ...]
    is_label: bool
    value: str  # "yes", "no", or ""
    match: str = ""  # "exact" if the text of the search identifies the class, "part" if the class contains the text


@dataclass(frozen=True)
class Option:
    """A class that can be added."""

    index: int
    class_id: str
    name: str
    names: str


@dataclass(frozen=True)
class ReviewRow:
    """An earlier review of the image."""

    id: str
    reviewer: str
    is_authenticated: bool
    time: str
    statements: tuple[str, ...]
    comment: str
    is_undone: bool
    is_own: bool


@dataclass(frozen=True)
class LastReview:
    """The newest review of the reviewer, which can be undone from the page of any image."""

    id: str
    image: str
    url: str  # empty: the image is not evaluated, and has no page
    next: tuple[str, ...]  # the images of a selection that follow it


@dataclass(frozen=True)
class ReviewPageView:
    """The page on which one image is reviewed."""

    form: ReviewForm
    caller: str  # empty: no token is required, and the form has the name
    picture: str  # URL; empty: not available
    prediction: str  # empty: none
    css_class: str  # of the type of the prediction
    error_type: str
    reason: str  # why the image is in the queue; empty: it is not
    progress: str
    labels: tuple[Choice, ...]
    suggested: tuple[Choice, ...]
    others: tuple[Choice, ...]  # classes that reviewers or a search named
    options: tuple[Option, ...]  # empty: too many classes
    search_result: str  # which classes a search found; empty: no search
    conflicts: tuple[str, ...]
    decision: tuple[str, ...]
    reviews: tuple[ReviewRow, ...]  # newest first
    last: LastReview | None
    queue_url: str
    url: str  # of this page
    skip_url: str
    following: str  # the next image of the queue
    image_url: str  # of the page of the image
    identity: str  # the name of the prediction's analysis, and its owner; empty: there is none
    coverage: str  # of the prediction's analysis, a sentence; empty: it covers all evaluated images
    problem: str  # why the form was refused; empty: it was not
    request_id: str
    labels_digest: str
    keys: Sequence[tuple[str, str]] = messages.KEYS
    empty: Choice = Choice("", "", "", (), False, "yes")  # the row of a class that the script adds
    reasons: Sequence[str] = messages.REASONS


@dataclass(frozen=True)
class QueueRow:
    """An image in the queue."""

    image: str
    url: str
    thumbnail: str  # URL; empty: not available
    reason: str
    predicted: str
    agreement: str  # how many models predict the class; empty: no class is disputed


@dataclass(frozen=True)
class QueueView:
    """The page of the queue."""

    datasets: tuple[str, ...]
    dataset: str
    severe_analysis: str  # id of the analysis with the severe errors; empty: there is none
    analysis_title: str
    identity: str  # the name of this analysis, and its owner
    coverage: str  # of this analysis, a sentence; empty: it covers all evaluated images
    is_judged_again: bool  # with other evidence than that of the report of this analysis
    reviewer: str
    summary: str
    counts: tuple[tuple[str, int, str], ...]  # reason, images, and the URL of the first page with one of them
    rows: tuple[QueueRow, ...]
    first: int
    total: int
    start: str  # URL of the first image; empty: the queue is empty
    previous: str
    next: str


def form_url(form: ReviewForm) -> str:
    """Return the URL of the page with an empty form for the same image."""
    selection = "1" if form.is_selection else ""
    parameters = {"analysis": form.analysis, "reviewer": form.reviewer, "selection": selection, "next": form.next}
    return review_url(form.dataset, form.image, **parameters)


def queue_page_url(form: ReviewForm, page: int = 1) -> str:
    """Return the URL of a page of the queue that the form belongs to."""
    number = str(page) if page > 1 else ""
    return queue_url(dataset=form.dataset, analysis=form.analysis, reviewer=form.reviewer, page=number)


def next_url(form: ReviewForm, following: str) -> str:
    """Return the URL of the next image of the selection or, without a selection, of the queue.

    Args:
        form: The form of the current image.
        following: The next image of the queue; empty if the current image is the last one.
    """
    image = form.next[0] if form.next else "" if form.is_selection else following
    return form_url(form.at(image)) if image else queue_page_url(form)


class ReviewPageBuilder:
    """Builds the page on which one image is reviewed.

    Args:
        details: The image.
        form: The statements to show, and the selection.
        caller: The name of the caller's token.
        has_pictures: Whether pictures of the data set are available.
    """

    def __init__(self, details: ReviewDetails, form: ReviewForm, caller: str, has_pictures: bool) -> None:
        self._details = details
        self._form = form
        self._caller = caller
        self._has_pictures = has_pictures
        self._names = display_names(details.bundle.label_space)

    def build(self, last: Review | None, problem: str) -> ReviewPageView:
        """Return the page.

        Args:
            last: The newest review of the reviewer that can be undone; None: there is none.
            problem: Why the form was refused; empty if the form was not refused.
        """
        details, form = self._details, self._form
        prediction, item = details.prediction, details.position.item
        return ReviewPageView(
            form=form,
            caller=self._caller,
            picture=picture_url(form.dataset, form.image) if self._has_pictures else "",
            prediction="" if prediction is None else self._prediction_text(),
            css_class="" if prediction is None else css_class(prediction.error_type),
            error_type="" if prediction is None else prediction.error_type.title,
            reason="" if item is None else self._reason_text(item),
            progress=messages.selection_text(len(form.next))
            if form.is_selection
            else messages.progress_text(details.position.position, details.position.total),
            labels=self._labels(),
            suggested=self._suggested(),
            others=self._others(),
            options=class_options(details.bundle),
            search_result=self._search_result() if form.search else "",
            conflicts=tuple(self._conflicts()),
            decision=tuple(self._decision()),
            reviews=tuple(self._reviews()),
            last=None if last is None else self._last(last),
            queue_url=queue_page_url(form),
            url=review_url(form.dataset, form.image, analysis=form.analysis),
            skip_url=next_url(form, details.position.next),
            following=details.position.next,
            image_url=""
            if prediction is None
            else image_url(form.dataset, form.image, analysis=prediction.analysis.id),
            identity="" if prediction is None else identity_text(prediction.analysis.id, prediction.analysis.owner),
            coverage="" if prediction is None else partial_coverage_note(prediction.analysis),
            problem=problem,
            request_id=form.request_id,
            labels_digest=details.labels_digest,
        )

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return {class_id: index for index, class_id in enumerate(self._details.bundle.label_space.ids)}

    @cached_property
    def _search_matches(self) -> Sequence[int]:
        """The classes that the search finds, and one more than the page lists if there are more."""
        return search_classes(self._details.bundle.label_space, self._form.search, MAX_FOUND + 1)

    @cached_property
    def _matching(self) -> Mapping[int, str]:
        identified = identify_class(self._form.search, self._details.bundle.label_space)
        return {index: "exact" if index == identified else "part" for index in self._search_matches[:MAX_FOUND]}

    def _search_result(self) -> str:
        names = [self._names[index] for index in self._matching]
        return messages.found_text(self._form.search, names, has_more=len(self._search_matches) > MAX_FOUND)

    def _name_of(self, class_id: str) -> str:
        index = self._index_of.get(class_id)
        return shorten(class_id) if index is None else self._names[index]

    def _name_all(self, class_ids: Sequence[str]) -> list[str]:
        names = [self._name_of(class_id) for class_id in class_ids[:MAX_NAMES]]
        return names if len(class_ids) <= MAX_NAMES else [*names, f"{len(class_ids) - MAX_NAMES:,} more"]

    def _prediction_text(self) -> str:
        prediction = self._details.prediction
        assert prediction is not None, "This is a bug: there is no prediction"
        name = isolate(self._names[prediction.class_index])
        return name if prediction.probability is None else f"{name} ({format_percentage(prediction.probability)})"

    def _reason_text(self, item: QueueItem) -> str:
        text = messages.QUEUE_REASONS[item.reason.value]
        if item.predicted is None:
            return text
        votes = messages.agreement_text(item.num_agreeing, item.num_models, None)
        return f"{text}: {isolate(self._names[item.predicted])} ({votes})"

    def _choice(self, index: int, *notes: str, is_label: bool = False) -> Choice:
        value = {True: "yes", False: "no", None: ""}[self._form.choices.get(index)]
        class_id = self._details.bundle.label_space.ids[index]
        return Choice(
            self._names[index], class_id, f"{CLASS_FIELD}{index}", notes, is_label, value, self._matching.get(index, "")
        )

    def _labels(self) -> tuple[Choice, ...]:
        shown = self._details.labels[:MAX_LABELS]
        return tuple(self._choice(index, LABEL_SOURCE_NAMES[source], is_label=True) for index, source in shown)

    def _suggested(self) -> tuple[Choice, ...]:
        return tuple(
            self._choice(
                item.class_index,
                messages.agreement_text(item.num_agreeing, self._details.num_models, item.confidence),
            )
            for item in self._details.suggested
        )

    def _others(self) -> tuple[Choice, ...]:
        """Return further classes: a rejected original label, and those of the form, the search, and reviews."""
        details = self._details
        shown = {index for index, _ in details.labels} | {item.class_index for item in details.suggested}
        named = [class_id for review in details.active for class_id in (*review.added, *review.rejected)]
        named += [class_id for review in details.active for class_id in review.confirmed]
        reviewed = [self._index_of[class_id] for class_id in named if class_id in self._index_of]
        wanted = dict.fromkeys([details.target, *self._form.choices, *self._matching, *reviewed])
        target = {details.target: ("original label",)}
        others = [index for index in wanted if index not in shown]
        return tuple(self._choice(index, *target.get(index, ())) for index in others[:MAX_LABELS])

    def _conflicts(self) -> Iterable[str]:
        decision, active = self._details.decision, self._details.active
        for class_id in sorted(decision.disputed)[:MAX_NAMES]:
            newest = {review.voter: class_id in review.present for review in active if _mentions(review, class_id)}
            yield messages.conflict_text(self._name_of(class_id), *_sides(newest))
        if decision.is_problematic_disputed:
            newest = {review.voter: review.problematic for review in active if review.problematic is not None}
            yield messages.conflict_text("set aside", *_sides(newest))

    def _decision(self) -> list[str]:
        decision = self._details.decision
        present, absent = (self._name_all(sorted(classes)) for classes in (decision.present, decision.absent))
        return messages.decision_texts(present, absent, decision.problematic, decision.reason)

    def _reviews(self) -> Iterable[ReviewRow]:
        undone = undone_ids(self._details.reviews)
        shown = [review for review in self._details.reviews if not review.undoes][-MAX_REVIEWS:]
        for review in reversed(shown):
            classes = self._name_all(review.confirmed), self._name_all(review.added), self._name_all(review.rejected)
            yield ReviewRow(
                id=review.id,
                reviewer=review.reviewer,
                is_authenticated=review.is_authenticated,
                time=f"{review.time:%Y-%m-%d %H:%M} UTC",
                statements=tuple(messages.statement_texts(classes, review.problematic, review.reason)),
                comment=review.comment,
                is_undone=review.id in undone,
                is_own=review.voter == self._form.voter(self._caller) and review.id not in undone,
            )

    def _last(self, last: Review) -> LastReview:
        form = self._form.back_to(last.image)
        is_evaluated = last.image in self._details.bundle.row_of_name
        return LastReview(last.id, last.image, form_url(form) if is_evaluated else "", form.next)


def class_options(bundle: Bundle) -> tuple[Option, ...]:
    """Return the classes that can be added; none if there are too many for a page."""
    space = bundle.label_space
    if space.num_classes > MAX_OPTIONS:
        return ()
    rows = zip(space.ids, space.names, space.synonyms, strict=True)
    return tuple(
        Option(index, class_id, name, ", ".join(shorten(text) for text in dict.fromkeys((name, *synonyms))))
        for index, (class_id, name, synonyms) in enumerate(rows)
    )


def queue_view(
    queue: ReviewQueue, form: ReviewForm, datasets: Sequence[str], analysis: Analysis | None, has_thumbnails: bool
) -> QueueView:
    """Return the page of the queue.

    Args:
        queue: The images of the page.
        form: The data set, the analysis, and the reviewer.
        datasets: The data sets that can be selected.
        analysis: The analysis with the severe errors; None: there is none.
        has_thumbnails: Whether pictures of the data set are available.
    """
    names = display_names(queue.bundle.label_space)
    offset, page = queue.offset, queue.offset // PAGE_SIZE + 1
    rows = tuple(_queue_row(item, form, names, has_thumbnails) for item in queue.items)
    links = [
        queue_page_url(form, number) if is_there else ""
        for number, is_there in ((page - 1, page > 1), (page + 1, offset + len(rows) < queue.total))
    ]
    return QueueView(
        datasets=tuple(datasets),
        dataset=form.dataset,
        severe_analysis=queue.analysis_id,
        analysis_title=analysis.title if analysis else "",
        identity=identity_text(analysis.id, analysis.owner) if analysis else "",
        coverage=partial_coverage_note(analysis) if analysis else "",
        is_judged_again=analysis is not None and analysis.evidence != queue.bundle.digest,
        reviewer=form.reviewer,
        summary=messages.queue_text(queue.total, queue.num_reviewed, queue.num_models, queue.min_agreement),
        counts=tuple(_count_links(queue, form)),
        rows=rows,
        first=offset + 1 if rows else 0,
        total=queue.total,
        start=rows[0].url if rows and page == 1 else "",
        previous=links[0],
        next=links[1],
    )


def _count_links(queue: ReviewQueue, form: ReviewForm) -> Iterable[tuple[str, int, str]]:
    start = 0
    for reason, count in queue.counts.items():
        yield (
            messages.QUEUE_REASONS[reason.value],
            count,
            queue_page_url(form, start // PAGE_SIZE + 1) if count else "",
        )
        start += count


def _queue_row(item: QueueItem, form: ReviewForm, names: Sequence[str], has_thumbnails: bool) -> QueueRow:
    return QueueRow(
        image=item.image,
        url=form_url(ReviewForm(form.dataset, item.image, form.analysis, reviewer=form.reviewer)),
        thumbnail=thumbnail_url(form.dataset, item.image) if has_thumbnails else "",
        reason=messages.QUEUE_REASONS[item.reason.value],
        predicted=MISSING if item.predicted is None else names[item.predicted],
        agreement=""
        if item.predicted is None
        else messages.agreement_text(
            item.num_agreeing,
            item.num_models,
            item.confidence,
            is_mean=item.reason is not QueueReason.SEVERE_ERROR,
        ),
    )


def _mentions(review: Review, class_id: str) -> bool:
    return class_id in review.present or class_id in review.rejected


def _sides(votes: dict[tuple[str, bool], bool]) -> tuple[list[str], list[str]]:
    """Return the names of the reviewers who say yes, and of those who say no."""
    names = {voter: voter[0] if voter[1] else f"{voter[0]} (not authenticated)" for voter in votes}
    yes, no = ([names[voter] for voter, vote in votes.items() if vote is side] for side in (True, False))
    return yes, no
