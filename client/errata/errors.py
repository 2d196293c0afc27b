"""Every error that Errata raises on purpose, as one tree.

ErrataError                      base class; `reason` is for programs, `message` is for people
├── InvalidInput                 the input is wrong; correct it and try again
│   ├── InvalidRequest           a field of a request
│   │   ├── InvalidPolicy        a gate policy; `violations` has fields and lines
│   │   ├── NotComparable        analyses of different data sets, or of different evidence
│   │   └── InvalidPageToken     a page token of another listing, or of other filters
│   ├── InvalidSetting           an environment variable, or a listening address that is not permitted
│   ├── InvalidModelId           a model ID that is malformed or points outside the permitted folder
│   ├── InvalidUpload            an uploaded file
│   │   ├── InvalidRow           rows of an uploaded file, with line numbers
│   │   ├── UnsupportedFormat    a file in a format that Errata does not read, such as a pickle
│   │   ├── TruncatedUpload      a file or stream that ends too early
│   │   └── ImplausibleUpload    predictions whose row order or class numbering looks wrong
│   └── InvalidEvidence          an evidence source, or a bundle that does not match its manifest
├── NotFound                     the named resource does not exist
│   ├── AnalysisNotFound
│   ├── DatasetNotFound
│   ├── EvidenceNotFound
│   ├── ImageNotFound
│   ├── ModelNotFound
│   └── ReviewNotFound
├── AlreadyExists                a request ID that was used with another request body
├── NotReady                     the state of the analysis does not allow the call
├── TooLarge                     the input exceeds a limit on bytes or rows
├── TooBusy                      a limit on concurrent work is reached; retry later
│   └── QuotaExceeded            a limit of the token is reached
├── Unavailable                  a component that the call needs is unavailable; retry later
│   ├── NewerRecord              a stored record was written by a newer version of Errata
│   ├── DamagedRecord            a stored record cannot be read by any version
│   └── WorkerLost               the process that runs models ended
├── Unauthenticated              the caller is not authenticated
│   ├── TokenMissing
│   ├── TokenUnknown
│   └── CertificateMissing
├── PermissionDenied             the scope of the token does not include the call
├── Cancelled                    the analysis was canceled
└── PermanentError               the work failed; a retry fails too
    ├── EvidenceDamaged          a bundle of the service is damaged
    ├── ModelRefused             the outputs, weights, or format of a model are not usable
    └── ImagesMissing            the images of the data set are missing

Each class has its own `reason`. service/api/status.py maps each branch to one gRPC code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "AnalysisNotFound",
    "Cancelled",
    "CertificateMissing",
    "DamagedRecord",
    "DatasetNotFound",
    "ErrataError",
    "EvidenceDamaged",
    "EvidenceNotFound",
    "ImageNotFound",
    "ImagesMissing",
    "ImplausibleUpload",
    "InvalidEvidence",
    "InvalidInput",
    "InvalidModelId",
    "InvalidPageToken",
    "InvalidPolicy",
    "InvalidRequest",
    "InvalidRow",
    "InvalidSetting",
    "InvalidUpload",
    "ModelNotFound",
    "ModelRefused",
    "NewerRecord",
    "NotComparable",
    "NotFound",
    "NotReady",
    "PermanentError",
    "PermissionDenied",
    "QuotaExceeded",
    "ReviewNotFound",
    "TokenMissing",
    "TokenUnknown",
    "TooBusy",
    "TooLarge",
    "TruncatedUpload",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedFormat",
    "Violation",
    "WorkerLost",
]


@dataclass(frozen=True)
class Violation:
    """One problem in the input: its location and its description."""

    field: str
    description: str
    line: int | None = None  # 1-based
    unit: str = "line"  # what `line` counts, such as a `line` of text, a `row` of a table, or an `entry` of JSON

    @property
    def place(self) -> str:
        """The place in the input, such as `line 5`; the name of the field if the line is unknown."""
        return self.field if self.line is None else f"{self.unit} {self.line}"


class ErrataError(Exception):
    """Errata could not complete the request. Every error of Errata is a subclass.

    Branch on `reason`, which is stable. Show `message` to people. `violations` lists the problems in the input.
    """

    reason: ClassVar[str] = "ERRATA_ERROR"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        line: int | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        """Create an error.

        Args:
            message: Text for the caller.
            field: Field of the request, setting, or file that is wrong.
            line: Line of the file, 1-based.
            violations: All problems in the input. If there are any, `field` and `line` are ignored.
            retry_after: Seconds after which the same call may succeed.
            detail: Text for the log only: addresses, paths, messages of other software. `str(error)` ends with it.
        """
        super().__init__(f"{message} ({detail})" if detail else message)
        self.message = message
        self.violations = tuple(violations) or ((Violation(field, message, line),) if field or line else ())
        self.retry_after = retry_after  # seconds; None: a retry does not help
        self.request_id = ""  # ID of the failed call, which the logs of the service contain

    @property
    def unstated_violations(self) -> tuple[Violation, ...]:
        """Return the violations that the message does not state.

        If several violations have the same description, the message states only the first of them.
        """
        stated, unstated = set[str](), list[Violation]()
        for violation in self.violations:
            if violation.description in self.message and violation.description not in stated:
                stated.add(violation.description)
            else:
                unstated.append(violation)
        return tuple(unstated)


class InvalidInput(ErrataError):
    """The input is invalid.

    Correct the problems that `violations` lists, then try again. The same input always fails.
    """

    reason = "INVALID_INPUT"


class InvalidRequest(InvalidInput):
    """A field of the request is missing, malformed, or contradicts another field.

    Correct the fields that `violations` lists and send the request again.
    """

    reason = "INVALID_REQUEST"


class InvalidPolicy(InvalidRequest):
    """The gate policy is invalid.

    Correct the fields and lines that `violations` lists.
    """

    reason = "INVALID_POLICY"


class NotComparable(InvalidRequest):
    """The analyses use different data sets or different evidence.

    Compare analyses of one data set. If their evidence differs, reanalyze the older analysis.
    """

    reason = "NOT_COMPARABLE"


class InvalidPageToken(InvalidRequest):
    """The page token belongs to another listing or to other filters.

    List again from the first page, and repeat the same filters on each page.
    """

    reason = "INVALID_PAGE_TOKEN"


class InvalidSetting(InvalidInput):
    """An `ERRATA_` variable is unknown, out of range, or not permitted.

    Correct the variable that the message names and start the command again.
    """

    reason = "INVALID_SETTING"


class InvalidModelId(InvalidInput):
    """The model ID is malformed, or its path is outside the permitted folder.

    Use the form `SOURCE:NAME`. `Client.models()` lists the models of the service.
    """

    reason = "INVALID_MODEL_ID"


class InvalidUpload(InvalidInput):
    """The uploaded file cannot be used.

    Correct the file as the message describes and upload it again.
    """

    reason = "INVALID_UPLOAD"


class InvalidRow(InvalidUpload):
    """Rows of an uploaded file are invalid.

    Correct the rows and upload the file again. `violations` lists the first ten, with line numbers.
    """

    reason = "INVALID_ROW"


class UnsupportedFormat(InvalidUpload):
    """Errata does not read the format of the file. Pickled data is never read.

    Convert the file to a format that the message lists, such as CSV, Parquet, or `.npy`.
    """

    reason = "UNSUPPORTED_FORMAT"


class TruncatedUpload(InvalidUpload):
    """The file or its stream ends too early.

    Check that the file is complete and upload it again.
    """

    reason = "TRUNCATED_UPLOAD"


class ImplausibleUpload(InvalidUpload):
    """The rows of the predictions file seem to be in another order, or its classes seem to have other numbers.

    Correct the row order or the class numbering as the message describes, or accept the predictions with
    `accept_implausible=True`, on the command line `--accept-implausible`. No trend uses an accepted analysis.
    """

    reason = "IMPLAUSIBLE_UPLOAD"


class InvalidEvidence(InvalidInput):
    """An evidence source is invalid, or a bundle does not match its manifest.

    Correct the source that the message names, or build the bundle again.
    """

    reason = "INVALID_EVIDENCE"


class NotFound(ErrataError):
    """The named resource does not exist.

    Check the name.
    """

    reason = "NOT_FOUND"


class AnalysisNotFound(NotFound):
    """No analysis has this name.

    Check the name with `errata list`. The analysis may have been deleted.
    """

    reason = "ANALYSIS_NOT_FOUND"


class DatasetNotFound(NotFound):
    """The service has no evidence for this data set.

    Use a data set that the message lists, or ask the operator to add its bundle to `ERRATA_EVIDENCE`.
    """

    reason = "DATASET_NOT_FOUND"


class EvidenceNotFound(NotFound):
    """No bundle of the data set, or more than one, has a digest with this prefix.

    Use a longer prefix, or one of the digests that the message lists.
    """

    reason = "EVIDENCE_NOT_FOUND"


class ImageNotFound(NotFound):
    """The data set has no evaluated image with this name.

    Check the file name. Images without labels are not evaluated.
    """

    reason = "IMAGE_NOT_FOUND"


class ModelNotFound(NotFound):
    """The source of the model has no model with this name.

    Check the model ID.
    """

    reason = "MODEL_NOT_FOUND"


class ReviewNotFound(NotFound):
    """The image has no review with this name.

    Check the name with `errata review list`.
    """

    reason = "REVIEW_NOT_FOUND"


class AlreadyExists(ErrataError):
    """The `request_id` was used before with another request body or, with isolated owners, by another caller.

    Use a new `request_id` for each new request, for example one that contains the run ID of a pipeline.
    """

    reason = "REQUEST_ID_REUSED"


class NotReady(ErrataError):
    """The state of the analysis does not allow the call.

    Wait until the analysis succeeds. An analysis that failed or was canceled has no results.
    """

    reason = "ANALYSIS_NOT_READY"


class TooLarge(ErrataError):
    """The input exceeds a size limit.

    Send less data, or ask the operator to raise the limit.
    """

    reason = "TOO_LARGE"


class TooBusy(ErrataError):
    """A limit on concurrent or open work is reached.

    Retry after `retry_after` seconds.
    """

    reason = "TOO_BUSY"


class QuotaExceeded(TooBusy):
    """The token has made too many requests in a minute, or has too many open analyses.

    Retry after `retry_after` seconds, or ask the operator to raise the limit of the token.
    """

    reason = "QUOTA_EXCEEDED"


class Unavailable(ErrataError):
    """A component that the call needs is unavailable.

    Retry later. If the error persists, ask the operator to check the logs of the service.
    """

    reason = "UNAVAILABLE"


class NewerRecord(Unavailable):
    """A newer version of Errata wrote a stored record, and this version cannot read it.

    Retry after the upgrade of the service is complete, or ask the operator to upgrade it.
    """

    reason = "NEWER_RECORD"


class DamagedRecord(Unavailable):
    """A stored record cannot be read by any version of Errata.

    Ask the operator to remove the record. The log of the service names it.
    """

    reason = "DAMAGED_RECORD"


class WorkerLost(Unavailable):
    """The process that runs models ended or stopped responding during a prediction.

    Retry. If the error persists, reduce the batch size or ask the operator to raise the memory limit.
    """

    reason = "WORKER_LOST"


class Unauthenticated(ErrataError):
    """The caller is not authenticated.

    Send a valid bearer token, and a client certificate where the service requires one.
    """

    reason = "UNAUTHENTICATED"


class TokenMissing(Unauthenticated):
    """The call requires a bearer token, but the request has none.

    Set `ERRATA_TOKEN`, or pass the token to the client.
    """

    reason = "TOKEN_MISSING"


class TokenUnknown(Unauthenticated):
    """The service does not know the token, or the token was revoked.

    Check `ERRATA_TOKEN`, or ask the operator for a new token.
    """

    reason = "TOKEN_UNKNOWN"


class CertificateMissing(Unauthenticated):
    """The service requires a client certificate, but the connection has none.

    Set `ERRATA_CLIENT_CERTIFICATE` and `ERRATA_CLIENT_KEY`.
    """

    reason = "CERTIFICATE_MISSING"


class PermissionDenied(ErrataError):
    """The scope of the token does not include the call.

    Use a token with the scope that the message names.
    """

    reason = "SCOPE_MISSING"


class Cancelled(ErrataError):
    """The analysis was canceled before it finished.

    Submit it again to get its results.
    """

    reason = "ANALYSIS_CANCELLED"


class PermanentError(ErrataError):
    """The analysis failed, and a retry fails too.

    Correct the cause that the message names, then submit the analysis again.
    """

    reason = "ANALYSIS_FAILED"


class EvidenceDamaged(PermanentError):
    """A bundle of the service is damaged.

    Ask the operator to restore the files of the bundle or to build it again.
    """

    reason = "EVIDENCE_DAMAGED"


class ModelRefused(PermanentError):
    """The outputs, weights, or format of the model are not usable.

    Correct the model as the message describes, or upload its predictions instead.
    """

    reason = "MODEL_REFUSED"


class ImagesMissing(PermanentError):
    """The images of the data set are missing.

    Ask the operator to correct `ERRATA_IMAGES`, or upload predictions instead.
    """

    reason = "IMAGES_MISSING"
