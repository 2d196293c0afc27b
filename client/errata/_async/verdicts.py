"""The verdicts of an analysis: an iterator over messages, or a data frame."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from errata import frames
from errata import v1 as pb
from errata.requests import PAGE_SIZE

if TYPE_CHECKING:
    import pandas as pd

ListPage = Callable[[pb.ListVerdictsRequest], Awaitable[Any]]
Export = Callable[[pb.ExportVerdictsRequest], AsyncIterator[bytes]]


class AsyncVerdicts:
    """The verdicts that a filter selects. Iterating fetches them page by page."""

    def __init__(self, query: pb.ListVerdictsRequest, limit: int | None, list_page: ListPage, export: Export) -> None:
        self._query = query
        self._limit = limit
        self._list_page = list_page
        self._export = export
        self._started: AsyncIterator[pb.Verdict] | None = None  # the iterator that `next` advances

    async def __aiter__(self) -> AsyncIterator[pb.Verdict]:
        request, remaining = pb.ListVerdictsRequest(), self._limit
        request.CopyFrom(self._query)
        while remaining is None or remaining > 0:
            request.page_size = PAGE_SIZE if remaining is None else min(remaining, PAGE_SIZE)
            page = await self._list_page(request)
            for verdict in page.verdicts:
                yield verdict
            remaining = None if remaining is None else remaining - len(page.verdicts)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def __anext__(self) -> pb.Verdict:
        if self._started is None:
            self._started = self.__aiter__()
        return await self._started.__anext__()

    async def to_pandas(self) -> "pd.DataFrame":
        """Fetch the verdicts as one Arrow stream and return them as a data frame.

        Returns:
            A row for each verdict, in the order of the data set, with the columns `file_name`, `target`, `predicted`
            (indices of classes), `error_type`, `problematic` (tags, separated by spaces), `target_name`,
            `predicted_name`, `groups` (separated by spaces), and `probability` if the predictions have it. Names of
            enumeration values are lowercase, without prefix, and categorical, such as `model_failure`. With evidence,
            also `labels`, `shared_superclasses`, `co_occurrences`, `vocabulary`, and `expert_judgment` (lists and
            structures, as Arrow columns), `overlap` (text), and the outcome of each rule in a column `rule_…`.

        Raises:
            MissingPackage: If `errata-client[pandas]` is not installed.
        """
        frames.import_pandas()
        request = pb.ExportVerdictsRequest(
            parent=self._query.parent,
            format=pb.VERDICT_FORMAT_ARROW,
            filter=self._query.filter if self._query.HasField("filter") else None,
            view=self._query.view,
        )
        content = b"".join([chunk async for chunk in self._export(request)])
        return frames.verdicts_frame(content, self._limit)
