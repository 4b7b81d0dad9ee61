"""Training files on a model hub: a data set repository, private unless it was there before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from curation.errors import ExportError

_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)


def check_repository(name: str) -> str:
    """A repository's name, OWNER/NAME. Raises ExportError."""
    if not _REPOSITORY.fullmatch(name):
        raise ExportError(f"repository {name[:80]!r} is not OWNER/NAME of letters, digits and . _ -; give it that way.")
    return name


def push(repository: str, files: Sequence[Path], *, message: str) -> str:
    """Upload files as one commit of a data set repository, which is made, private, where there is none. Its address.

    The hub is the one of `HF_ENDPOINT`, the access `huggingface_hub`'s own (`HF_TOKEN`, or its login). Raises
    ExportError.
    """
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        made = api.create_commit(
            repository, [CommitOperationAdd(file.name, file) for file in files], commit_message=message,
            repo_type="dataset",
        )  # fmt: skip
    except (HfHubHTTPError, LocalTokenNotFoundError, httpx.HTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ExportError(
            f"{repository} did not take the files ({reason}); they are written, at {files[0].parent}: see to access "
            "and address (HF_TOKEN, HF_ENDPOINT), then push again with --force."
        ) from None
    return str(made.commit_url)
