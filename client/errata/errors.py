"""Every error that Errata raises on purpose, as one tree.

ErrataError                      what Errata raises; `reason` is the machine's word, `message` the person's
├── InvalidInput                 the caller can mend it: says what was expected, what came and where
│   ├── InvalidRequest           a field of a request
│   │   ├── InvalidPolicy        a gate's policy, with fields and lines
│   │   ├── NotComparable        analyses of different data sets, or judged with different evidence
│   │   └── InvalidPageToken     a page token that this listing did not give
│   ├── InvalidSetting           an environment variable, or a bind address that isn't allowed
│   ├── InvalidModelId           a model identifier that doesn't parse or points outside the permitted folder
│   ├── InvalidUpload            a predictions file: the whole of it
│   │   ├── InvalidRow           single rows of it, with their line numbers
│   │   ├── UnsupportedFormat    none of the formats, or a pickle
│   │   └── TruncatedUpload      it ends too early
│   └── InvalidEvidence          a source of evidence, or a bundle that isn't what its manifest says
├── NotFound                     no such thing
│   ├── AnalysisNotFound
│   ├── DatasetNotFound
│   ├── EvidenceNotFound
│   ├── ImageNotFound
│   └── ModelNotFound
├── AlreadyExists                a request id that was used for another body
├── NotReady                     the analysis is in a state in which this can't be done
├── TooLarge                     over a limit on bytes or rows; smaller input would pass
├── TooBusy                      over a limit on concurrent work; the same call passes later
├── Unavailable                  a part that the call needs is away; the same call may pass later
│   ├── NewerRecord              a newer version wrote the record: that version reads it
│   ├── DamagedRecord            no version wrote the record: the log names it
│   └── WorkerLost               the process that runs models ended
├── Unauthenticated              nobody knows who calls
│   ├── TokenMissing
│   ├── TokenUnknown
│   └── CertificateMissing       a certificate of the caller's is asked for
├── PermissionDenied             the token's scope doesn't reach as far
├── Cancelled                    somebody cancelled it
└── PermanentError               work that fails however often it is tried
    ├── EvidenceDamaged          a bundle that is served can't be opened: the operator can mend it
    ├── ModelRefused             the model can't be used: its outputs, weights or format
    └── ImagesMissing            the images of the data set aren't there

Each class names its own `reason`; service/api/status.py maps each branch to one gRPC code.
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
    """One thing that is wrong in the input: where it stands and what is wrong with it."""

    field: str
    description: str
    line: int | None = None  # 1-based line (text) or row (arrays) of an upload


class ErrataError(Exception):
    """Raised when Errata refuses or can't do something; never for a bug."""

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
        """Keep what is wrong.

        Args:
            message: What a caller reads.
            field: Field of the request, setting, or file that is wrong.
            line: Line of it, 1-based.
            violations: All that is wrong with the input, instead of `field` and `line`.
            retry_after: Seconds after which the same call may pass.
            detail: What only the log has: addresses, paths, words of other software. `str(error)` ends with it.
        """
        super().__init__(f"{message} ({detail})" if detail else message)
        self.message = message
        self.violations = tuple(violations) or ((Violation(field, message, line),) if field or line else ())
        self.retry_after = retry_after  # seconds after which the same call may pass; None: it won't
        self.request_id = ""  # of the call that a service answered so: its logs have it


class InvalidInput(ErrataError):
    """Raised when the caller's input can't be taken."""

    reason = "INVALID_INPUT"


class InvalidRequest(InvalidInput):
    """Raised when a field of a request is missing, malformed or contradicts another."""

    reason = "INVALID_REQUEST"


class InvalidPolicy(InvalidRequest):
    """Raised when a gate's policy isn't what it should be; `violations` has fields and lines."""

    reason = "INVALID_POLICY"


class NotComparable(InvalidRequest):
    """Raised when analyses are of different data sets, or were judged with different evidence."""

    reason = "NOT_COMPARABLE"


class InvalidPageToken(InvalidRequest):
    """Raised when a page token was not given by this listing with these filters."""

    reason = "INVALID_PAGE_TOKEN"


class InvalidSetting(InvalidInput):
    """Raised when an ERRATA_ variable is unknown, out of bounds or not allowed."""

    reason = "INVALID_SETTING"


class InvalidModelId(InvalidInput):
    """Raised when a model identifier doesn't parse, or points where it must not."""

    reason = "INVALID_MODEL_ID"


class InvalidUpload(InvalidInput):
    """Raised when a predictions file as a whole can't be used."""

    reason = "INVALID_UPLOAD"


class InvalidRow(InvalidUpload):
    """Raised when rows of a predictions file are wrong; `violations` names the first ten."""

    reason = "INVALID_ROW"


class UnsupportedFormat(InvalidUpload):
    """Raised when a file is in no format that Errata reads, pickles above all."""

    reason = "UNSUPPORTED_FORMAT"


class TruncatedUpload(InvalidUpload):
    """Raised when a file or its stream ends before its end."""

    reason = "TRUNCATED_UPLOAD"


class InvalidEvidence(InvalidInput):
    """Raised when a source of evidence, or a bundle, isn't what it should be."""

    reason = "INVALID_EVIDENCE"


class NotFound(ErrataError):
    """Raised when a named thing doesn't exist."""

    reason = "NOT_FOUND"


class AnalysisNotFound(NotFound):
    """Raised when no analysis has this name."""

    reason = "ANALYSIS_NOT_FOUND"


class DatasetNotFound(NotFound):
    """Raised when no evidence is served for this data set."""

    reason = "DATASET_NOT_FOUND"


class EvidenceNotFound(NotFound):
    """Raised when no bundle of the data set has this digest prefix, or several have."""

    reason = "EVIDENCE_NOT_FOUND"


class ImageNotFound(NotFound):
    """Raised when the data set judges no image of this name."""

    reason = "IMAGE_NOT_FOUND"


class ModelNotFound(NotFound):
    """Raised when no worker knows this model."""

    reason = "MODEL_NOT_FOUND"


class AlreadyExists(ErrataError):
    """Raised when a request_id comes again with another body."""

    reason = "REQUEST_ID_REUSED"


class NotReady(ErrataError):
    """Raised when the analysis isn't in a state that allows the call."""

    reason = "ANALYSIS_NOT_READY"


class TooLarge(ErrataError):
    """Raised when input is over a limit on its size."""

    reason = "TOO_LARGE"


class TooBusy(ErrataError):
    """Raised when a limit on concurrent or open work is reached."""

    reason = "TOO_BUSY"


class Unavailable(ErrataError):
    """Raised when a part that the call needs can't be reached now."""

    reason = "UNAVAILABLE"


class NewerRecord(Unavailable):
    """Raised when a kept record was written by a newer version, which alone can read it."""

    reason = "NEWER_RECORD"


class DamagedRecord(Unavailable):
    """Raised when a kept record isn't one that any version wrote: the log has it, and somebody must remove it."""

    reason = "DAMAGED_RECORD"


class WorkerLost(Unavailable):
    """Raised when the process that runs models ended, or stopped answering, while it predicted."""

    reason = "WORKER_LOST"


class Unauthenticated(ErrataError):
    """Raised when a call doesn't show who makes it."""

    reason = "UNAUTHENTICATED"


class TokenMissing(Unauthenticated):
    """Raised when a call that needs a token has none."""

    reason = "TOKEN_MISSING"


class TokenUnknown(Unauthenticated):
    """Raised when a call has a token that isn't known, or isn't any more."""

    reason = "TOKEN_UNKNOWN"


class CertificateMissing(Unauthenticated):
    """Raised when a call has no client certificate where one is asked for."""

    reason = "CERTIFICATE_MISSING"


class PermissionDenied(ErrataError):
    """Raised when a token's scope doesn't cover the call."""

    reason = "SCOPE_MISSING"


class Cancelled(ErrataError):
    """Raised when the analysis was cancelled while somebody waited for it."""

    reason = "ANALYSIS_CANCELLED"


class PermanentError(ErrataError):
    """Raised when work failed and would fail again."""

    reason = "ANALYSIS_FAILED"


class EvidenceDamaged(PermanentError):
    """Raised when a bundle that the service has can't be opened."""

    reason = "EVIDENCE_DAMAGED"


class ModelRefused(PermanentError):
    """Raised when a model can't be used as it is: outputs, weights, format."""

    reason = "MODEL_REFUSED"


class ImagesMissing(PermanentError):
    """Raised when the images of a data set aren't where they should be."""

    reason = "IMAGES_MISSING"
