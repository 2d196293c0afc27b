"""What a model registry says happened, and what is done about it."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Action(StrEnum):
    """What happened to a model version."""

    CREATED = "created"
    ALIAS = "alias"  # an alias was set to it
    TAG = "tag"  # a tag was set on it


@dataclass(frozen=True)
class RegistryEvent:
    """Something that happened to one model version; nothing but names, as a payload may lie about the rest."""

    action: Action
    model: str
    version: str
    name: str = ""  # of the alias, or the tag's key
    value: str = ""  # of the tag
    delivery: str = ""  # what the registry calls this delivery; empty: it doesn't
    source: str = ""  # the model's identifier, where the registry's kind doesn't say how its versions are loaded

    @property
    def echo(self) -> bool:
        """Say whether it is Errata's own writing that comes back."""
        if self.action is Action.ALIAS:
            return self.name.startswith(OWN_ALIAS)
        return self.action is Action.TAG and self.name.startswith(OWN_TAG) and not self.again

    @property
    def again(self) -> bool:
        """Say whether somebody asks for the version to be analyzed again."""
        return self.action is Action.TAG and self.name == REQUEST_TAG and self.value == REQUEST_VALUE


REGISTRY_OWNER = "registry:"  # the owner of what a registry's event asked for begins so
OWN_TAG, OWN_ALIAS = "errata.", "errata-"  # what Errata writes begins so
REQUEST_TAG, REQUEST_VALUE = "errata.request", "analyze"


@dataclass(frozen=True)
class RegistryRule:
    """Which events lead to which analysis."""

    event: str  # created, alias:NAME or tag:KEY
    model: str = "*"  # glob
    dataset: str = "imagenet-real"
    policy: str = ""  # the text of a gate's policy
    baseline: str = ""  # alias:NAME, or an analysis

    def matches(self, event: RegistryEvent) -> bool:
        """Say whether an event is one of the rule's."""
        if not fnmatchcase(event.model, self.model):
            return False
        return event.again or self.event == (
            event.action.value if event.action is Action.CREATED else f"{event.action.value}:{event.name}"
        )
