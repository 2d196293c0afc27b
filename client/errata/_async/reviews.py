"""Methods of the client about reviews of images."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Unpack

from errata import v1 as pb
from errata._async.calls import AsyncCalls
from errata.choices import choice
from errata.names import dataset_name, image_name
from errata.requests import PAGE_SIZE, AnalysisRef, ReviewStatements, build, name_of, review_request


class AsyncReviewMethods(AsyncCalls):
    """Create, list, export, and import reviews."""

    _reviews: Any

    async def review_queue(
        self, dataset: str, analysis: AnalysisRef = "", most: int | None = None, min_agreement: int = 0
    ) -> AsyncIterator[pb.ReviewQueueItem]:
        """Yield the images that people should review, the most urgent first.

        Args:
            dataset: The data set.
            analysis: The analysis whose severe errors are in the queue. Default: the newest one.
            most: The maximum number of images.
            min_agreement: Number of models that must predict the same class for a suggestion. Default: half of the
                models, and at least 3.
        """
        size = PAGE_SIZE if most is None else max(1, min(most, PAGE_SIZE))
        request = build(
            pb.ListReviewQueueRequest,
            parent=dataset_name(dataset),
            analysis=name_of(analysis),
            page_size=size,
            min_agreement=min_agreement,
        )
        remaining = most
        async for item in self._each(self._reviews.ListReviewQueue, request, "items"):
            if remaining is not None:
                if not remaining:
                    return
                remaining -= 1
            yield item

    async def list_review_queue(
        self, dataset: str, analysis: AnalysisRef = "", most: int | None = 100, min_agreement: int = 0
    ) -> pb.ListReviewQueueResponse:
        """Return images that people should review, their number (`total_size`), and the analysis with the errors.

        Args:
            dataset: The data set.
            analysis: The analysis whose severe errors are in the queue. Default: the newest one.
            most: The maximum number of images. None: no limit.
            min_agreement: Number of models that must predict the same class for a suggestion. Default: half of the
                models, and at least 3.
        """
        request = build(
            pb.ListReviewQueueRequest,
            parent=dataset_name(dataset),
            analysis=name_of(analysis),
            min_agreement=min_agreement,
        )
        return await self._first(self._reviews.ListReviewQueue, request, "items", most)

    async def create_review(
        self, dataset: str, file_name: str, reviewer: str = "", **statements: Unpack[ReviewStatements]
    ) -> pb.Review:
        """Review the labels of an image.

        Args:
            dataset: The data set.
            file_name: File name of the image.
            reviewer: Name of the reviewer. Omit it if the client has a token: the name of the token is then used.
            **statements: See `ReviewStatements`.

        Raises:
            ImageNotFound: If the evidence does not have the image.
            InvalidRequest: If a statement is invalid.
        """
        request = review_request(dataset, file_name, reviewer, statements)
        return await self._call(self._reviews.CreateReview, request)

    async def get_review(self, name: str) -> pb.Review:
        """Return a review.

        Args:
            name: Name of the review.

        Raises:
            ReviewNotFound: If there is no such review.
        """
        return await self._call(self._reviews.GetReview, build(pb.GetReviewRequest, name=name))

    async def list_reviews(self, dataset: str, file_name: str = "", reviewer: str = "") -> AsyncIterator[pb.Review]:
        """Yield reviews, newest first, and fetch them page by page.

        Args:
            dataset: The data set.
            file_name: File name of an image. Default: all images.
            reviewer: Name of a reviewer. Default: all reviewers.
        """
        request = _reviews_request(dataset, file_name, reviewer)
        async for review in self._each(self._reviews.ListReviews, request, "reviews"):
            yield review

    async def some_reviews(
        self, dataset: str, file_name: str = "", reviewer: str = "", most: int | None = None
    ) -> pb.ListReviewsResponse:
        """Return reviews, newest first, and the token of the next page if there are more (`next_page_token`).

        Args:
            dataset: The data set.
            file_name: File name of an image. Default: all images.
            reviewer: Name of a reviewer. Default: all reviewers.
            most: The maximum number of reviews.
        """
        request = _reviews_request(dataset, file_name, reviewer)
        return await self._first(self._reviews.ListReviews, request, "reviews", most)

    async def export_reviews(
        self,
        dataset: str,
        format: str | int = "jsonl",
        evidence: str = "",
        min_reviews: int = 1,
        only_reviewed: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield a file of the reviews, or of the labels that the reviews have corrected, in chunks.

        Args:
            dataset: The data set.
            format: `jsonl` for the reviews; `labels_csv` or `labels_jsonl` for the corrected labels.
            evidence: Name or digest prefix of the bundle whose labels the reviews correct. Default: the data set's
                default bundle or, if it was built from reviews, the bundle that these reviews corrected.
            min_reviews: Minimum number of reviewers per class. If fewer reviewers voted on a class, their votes are
                ignored.
            only_reviewed: Whether to export the labels of only those images that have reviews.
        """
        request = build(
            pb.ExportReviewsRequest,
            parent=dataset_name(dataset),
            format=choice(pb.ReviewFormat, format, "format"),
            evidence=evidence,
            min_reviews=min_reviews,
            only_reviewed=only_reviewed,
        )
        async for chunk in self._stream(self._reviews.ExportReviews, request):
            yield chunk.chunk

    async def import_reviews(
        self, reviews: str | Path | BinaryIO, dataset: str, keep_authentication: bool = False, reviewer: str = ""
    ) -> pb.ImportReviewsResponse:
        """Import reviews from a file that `export_reviews` wrote. A repeated import adds nothing.

        A labels file becomes reviews of the caller, with the statements in which it differs from the current labels.

        Args:
            reviews: Path of the file, or its content as a binary stream.
            dataset: The data set.
            keep_authentication: Whether reviewers that the file marks as authenticated stay authenticated. Use it to
                restore a backup of the same service.
            reviewer: Name of the reviewer of a labels file. Omit it if the client has a token.

        Raises:
            InvalidRequest: If the reviewer of a labels file is missing.
            InvalidRow: If a line is invalid; nothing is imported. `violations` has the lines.
        """
        header = build(
            pb.ImportReviewsHeader,
            parent=dataset_name(dataset),
            keep_authentication=keep_authentication,
            reviewer=reviewer,
        )
        return await self._send_file(self._reviews.ImportReviews, pb.ImportReviewsRequest, header, reviews)


def _reviews_request(dataset: str, file_name: str, reviewer: str) -> pb.ListReviewsRequest:
    """Return the request for the reviews of a data set, or of one of its images."""
    parent = image_name(dataset, file_name) if file_name else dataset_name(dataset)
    return build(pb.ListReviewsRequest, parent=parent, reviewer=reviewer)
