"""The form of an upload: its fields as a request, and its page."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from errata.errors import ErrataError, InvalidRequest
from errata.requests import DEFAULT_DATASET
from starlette.requests import Request
from starlette.responses import Response

from service.analyses.ports import Ports
from service.analyses.request import MAX_TEXT
from service.domain import AnalysisRequest, RowOrder
from service.predictions.uploads.terms import format_size
from service.redact import public_message
from service.web.application import retry_header
from service.web.forms import form_page
from service.web.responses import unstated_problems
from service.web.status import status_of

ROW_ORDERS: Mapping[str, RowOrder] = {"": RowOrder.UNSPECIFIED, "file-name": RowOrder.FILE_NAME}


@dataclass(frozen=True)
class UploadFields:
    """The fields of the form besides the file."""

    dataset: str = ""
    name: str = ""
    labels: str = ""  # a line `key=value` for each label
    row_order: str = ""  # a key of ROW_ORDERS
    min_coverage: str = ""  # a fraction; empty: 0
    accept_implausible: bool = False
    request_id: str = field(default_factory=lambda: secrets.token_hex(16))  # a form that is sent twice: one analysis

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> "UploadFields":
        """Return the fields of a form."""
        names = ("dataset", "name", "labels", "row_order", "min_coverage")
        texts = {name: fields.get(name, "").strip() for name in names}
        form = cls(**texts, accept_implausible="accept_implausible" in fields)
        request_id = fields.get("request_id", "")
        return replace(form, request_id=request_id) if request_id else form

    def request(self, file_name: str) -> AnalysisRequest:
        """Return the request. If the form has no display name, the analysis is named after the file.

        Raises:
            InvalidRequest: A label, the row order, or the minimum coverage is invalid.
        """
        if self.row_order not in ROW_ORDERS:
            raise InvalidRequest(
                f"Unknown row order {self.row_order!r:.40}. Use 'file-name', or leave it empty.", field="row_order"
            )
        return AnalysisRequest(
            self.dataset,
            display_name=self.name or _base_name(file_name),
            request_id=self.request_id,
            labels=_labels(self.labels),
            row_order=ROW_ORDERS[self.row_order],
            accept_implausible=self.accept_implausible,
            min_coverage=_fraction(self.min_coverage),
        )


@dataclass(frozen=True)
class UploadView:
    """The content of the page."""

    fields: UploadFields
    datasets: tuple[str, ...]
    max_bytes: int
    max_size: str  # the same as text
    message: str  # the problem of the last upload; empty: there is none
    details: tuple[str, ...]


def upload_form(ports: Ports, request: Request, fields: UploadFields, error: ErrataError | None = None) -> Response:
    """Return the page with the form, and with the error of the last upload."""
    view = UploadView(
        fields if fields.dataset else replace(fields, dataset=DEFAULT_DATASET),
        tuple(ports.stores.evidence.datasets()),
        ports.limits.max_upload_bytes,
        format_size(ports.limits.max_upload_bytes),
        public_message(error) if error else "",
        unstated_problems(error) if error else (),
    )
    response = form_page(request, "upload.html", status_of(error) if error else 200, view=view)
    if error is not None:
        response.headers.update(retry_header(error))
    return response


def _base_name(file_name: str) -> str:
    """Return the name of a file without folders, and without characters that a page cannot show."""
    name = file_name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:MAX_TEXT]


def _fraction(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError as error:
        raise InvalidRequest(
            f"Invalid minimum coverage {text!r:.40}. Use a fraction from 0 to 1, such as 0.99.", field="min_coverage"
        ) from error


def _labels(text: str) -> dict[str, str]:
    labels = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, separator, value = line.partition("=")
        if not (key and separator):
            raise InvalidRequest(f"Invalid label {line!r:.80}. Write a line key=value for each label.", field="labels")
        labels[key.strip()] = value.strip()
    return labels
