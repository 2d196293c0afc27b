"""Events of model registries, and the rules that start analyses for them."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Action(StrEnum):
    """Change of a model version."""

    CREATED = "created"
    ALIAS = "alias"  # an alias was set to the version
    TAG = "tag"  # a tag was set on the version


@dataclass(frozen=True)
class RegistryEvent:
    """Event of one model version. It has only names, because the other parts of a registry's payload are untrusted."""

    action: Action
    model: str
    version: str
    name: str = ""  # alias, or key of the tag
    value: str = ""  # value of the tag
    delivery: str = ""  # id of the delivery; empty: the registry has none
    source: str = ""  # model ID; only for registries whose versions have no identifier
    previous: str = ""  # the previous version; only for registries whose versions are commits; empty: none

    @property
    def is_own_change(self) -> bool:
        """Return whether Errata itself made the change that the event reports."""
        if self.action is Action.ALIAS:
            return self.name.startswith(OWN_ALIAS)
        return self.action is Action.TAG and self.name.startswith(OWN_TAG) and not self.is_analysis_request

    @property
    def is_analysis_request(self) -> bool:
        """Return whether a tag requests another analysis of the version."""
        return self.action is Action.TAG and self.name == REQUEST_TAG and self.value == REQUEST_VALUE


REGISTRY_OWNER = "registry:"  # prefix of the owner of analyses that an event started
OWN_TAG, OWN_ALIAS = "errata.", "errata-"  # prefixes of the tags and aliases that Errata sets
REQUEST_TAG, REQUEST_VALUE = "errata.request", "analyze"


@dataclass(frozen=True)
class RegistryRule:
    """A rule that describes the events that start an analysis, and this analysis."""

    event: str  # created, alias:NAME or tag:KEY
    model: str = "*"  # glob pattern
    dataset: str = "imagenet-real"
    policy: str = ""  # text of a gate policy
    baseline: str = ""  # alias:NAME, or an analysis

    def matches(self, event: RegistryEvent) -> bool:
        """Return whether the rule applies to an event."""
        if not fnmatchcase(event.model, self.model):
            return False
        return event.is_analysis_request or self.event == (
            event.action.value if event.action is Action.CREATED else f"{event.action.value}:{event.name}"
        )
