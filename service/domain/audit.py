"""Audit events: who changed the evidence and the analyses of a service, and when. An event is never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

UNAUTHENTICATED = "unauthenticated"  # actor of a call without a token
RETENTION = "retention"  # actor of the deletion of expired analyses


class AuditAction(StrEnum):
    """The action of an actor. The values are stored, so they never change."""

    BUILD = "build"  # published evidence that was built from reviews
    UPLOAD_LABELS = "upload-labels"  # published evidence that was built from a file of labels
    UPLOAD_BUNDLE = "upload-bundle"  # published an uploaded bundle
    PUBLISH = "publish"  # published, for all processes, a bundle that only one process had
    SET_DEFAULT = "set-default"  # made a bundle the default of its data set
    IMPORT = "import"  # imported reviews
    CREATE = "create"  # created an analysis
    DELETE = "delete"  # deleted an analysis
    CANCEL = "cancel"  # canceled an analysis
    RETRY = "retry"  # retried a failed analysis
    REVIEW = "review"  # reviewed an image
    GATE = "gate"  # evaluated a gate whose decision differs from the previous one


PUBLICATIONS = frozenset(
    {AuditAction.BUILD, AuditAction.UPLOAD_LABELS, AuditAction.UPLOAD_BUNDLE, AuditAction.PUBLISH}
)  # after these, all processes have the evidence


@dataclass(frozen=True)
class AuditEvent:
    """One change, or one decision of a gate."""

    id: str  # 32 hexadecimal digits
    time: datetime
    actor: str  # the name of a token, `registry:` and the ID of a registry, UNAUTHENTICATED, or RETENTION
    action: AuditAction
    dataset: str
    digest: str = ""  # of the evidence; empty if the event has none
    details: Mapping[str, str] = field(default_factory=dict)
    analysis: str = ""  # id; empty if the event has none
