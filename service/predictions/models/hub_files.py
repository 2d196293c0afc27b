"""Files of a repository on the Hugging Face Hub, fetched by name within the limit on downloads."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from errata.errors import ModelNotFound, ModelRefused
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from service.predictions.model_policy import ModelPolicy
from service.predictions.models.download import download_errors, hub_file_size


@dataclass(frozen=True)
class HubFiles:
    """One revision of a repository."""

    model: str  # model ID, for messages
    repository: str
    revision: str | None  # None: the main branch
    policy: ModelPolicy
    _sizes: list[int] = field(default_factory=list)  # sizes of the fetched files; their sum is limited

    def fetch(self, name: str, folder: Path) -> None:
        """Put a file into a local folder, under its base name.

        Raises:
            ModelNotFound: The hub has no such repository or revision.
            ModelRefused: The repository has no such file, the file is too large, or the folder already has a file of
                this name.
            Unavailable: The hub cannot be reached.
        """
        if not self.fetch_if_present(name, folder):
            raise ModelRefused(
                f"{self.model}: The repository has no {name}. Save the model with save_pretrained, and upload all "
                "files that it writes."
            )

    def fetch_if_present(self, name: str, folder: Path) -> bool:
        """Put a file into a local folder, as `fetch` does; return False if the repository has no such file."""
        size = hub_file_size(self.model, self.repository, name, self.revision)
        self.policy.check_download(self.model, sum(self._sizes) + (size or 0))
        try:
            with download_errors(self.model):
                cached = hf_hub_download(self.repository, name, revision=self.revision, library_name="errata")
        except ModelNotFound as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                return False
            raise
        target = folder / Path(name).name
        if target.exists():  # overwriting would change the cached file, because the existing file is a hard link
            raise ModelRefused(
                f"{self.model}: {name} has the name of another file of the model. Save each file under its own name."
            )
        source = Path(cached).resolve()
        self._sizes.append(source.stat().st_size)
        _link(source, target)
        return True


def _link(source: Path, target: Path) -> None:
    """Make a hard link, because later checks refuse symbolic links out of a folder. If that fails, copy the file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
