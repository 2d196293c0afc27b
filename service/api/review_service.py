"""ReviewService: reviews of images and the review queue."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from errata import v1 as pb
from errata.names import IMAGES
from errata.v1 import review_service_pb2_grpc

from service import wire
from service.analyses.ports import Ports
from service.analyses.review_export import export_labels, export_reviews
from service.analyses.review_import import ImportResult, import_reviews
from service.analyses.review_queue import review_queue
from service.analyses.reviews import create_review, find_review, find_undone, list_reviews
from service.api.downloads import FileSender
from service.api.messages import Context
from service.api.upload_receiver import UploadReceiver
from service.api.upload_stream import UploadStream
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER

QUEUE_SIZE = 100  # images on a page of the queue


class ReviewService(review_service_pb2_grpc.ReviewServiceServicer):
    """Implements the RPCs of ReviewService. Uploads receive encoded messages."""

    def __init__(self, ports: Ports, executor: BoundedExecutor, receiver: UploadReceiver, sender: FileSender) -> None:
        self._stores = ports.stores
        self._executor = executor
        self._receiver = receiver
        self._sender = sender

    async def ListReviewQueue(self, request: pb.ListReviewQueueRequest, context: Context) -> pb.ListReviewQueueResponse:
        """Return a page of the images that people should review."""
        dataset = wire.required_dataset(request.parent, "parent")
        analysis = wire.analysis_id(request.analysis, "analysis") if request.analysis else ""

        def page() -> pb.ListReviewQueueResponse:
            start, size = wire.page_offset(request.page_token, request), wire.page_size(request.page_size, QUEUE_SIZE)
            queue = review_queue(self._stores, dataset, analysis, size, start, request.min_agreement or None)
            space = queue.bundle.label_space
            end = start + len(queue.items)
            return pb.ListReviewQueueResponse(
                items=[wire.to_queue_item(item, dataset, space) for item in queue.items],
                next_page_token=wire.page_token(end, request) if end < queue.total else "",
                total_size=queue.total,
                analysis=wire.analysis_name(queue.analysis_id) if queue.analysis_id else "",
            )

        return await self._executor.call(page)

    async def CreateReview(self, request: pb.CreateReviewRequest, context: Context) -> pb.Review:
        """Store a review."""

        def create() -> pb.Review:
            return wire.to_review(create_review(self._stores, wire.review_request(request), CALLER.get().name))

        return await self._executor.call(create)

    async def GetReview(self, request: pb.GetReviewRequest, context: Context) -> pb.Review:
        """Return one review."""
        review = await self._executor.call(find_review, self._stores, *wire.review_ids(request.name))
        undone = await self._executor.call(find_undone, self._stores, [review])
        return wire.to_review(review, review.id in undone)

    async def ListReviews(self, request: pb.ListReviewsRequest, context: Context) -> pb.ListReviewsResponse:
        """Return a page of reviews, newest first."""
        if IMAGES in request.parent:
            dataset, image = wire.image_ids(request.parent, "parent")
        else:
            dataset, image = wire.required_dataset(request.parent, "parent"), ""

        def page() -> pb.ListReviewsResponse:
            reviews = list_reviews(self._stores, dataset, image, request.reviewer)
            selected, next_token = wire.page_of_records(reviews[::-1], request)
            undone = find_undone(self._stores, selected)
            return pb.ListReviewsResponse(
                reviews=[wire.to_review(review, review.id in undone) for review in selected],
                next_page_token=next_token,
            )

        return await self._executor.call(page)

    async def ExportReviews(self, request: pb.ExportReviewsRequest, context: Context) -> None:
        """Stream the reviews of a data set, or the labels that result from them, as a file."""
        dataset = wire.required_dataset(request.parent, "parent")
        labels = wire.labels_export(request, dataset)

        def prepare() -> Callable[[], Iterator[bytes]]:
            self._stores.evidence.find(dataset, labels.evidence if labels else "")
            if labels is None:
                return partial(export_reviews, self._stores, dataset)
            return partial(export_labels, self._stores, dataset, labels)

        await self._sender.send(context, prepare)

    async def ImportReviews(self, request_iterator: AsyncIterator[bytes], context: Context) -> pb.ImportReviewsResponse:
        """Store the reviews of a file."""
        result = await self._receiver.receive(request_iterator, pb.ImportReviewsRequest, self._start_import)
        return pb.ImportReviewsResponse(num_added=result.num_added, num_existing=result.num_existing)

    def _start_import(self, header: pb.ImportReviewsHeader) -> Callable[[UploadStream], ImportResult]:
        return partial(
            import_reviews,
            self._stores,
            wire.required_dataset(header.parent, "parent"),
            caller=CALLER.get().name,
            keep_authentication=header.keep_authentication,
            reviewer=header.reviewer,
        )
