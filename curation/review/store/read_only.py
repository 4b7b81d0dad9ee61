"""A store to look at: of a database that may not be written, such as a backup, a copy for as long as it is read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from curation.errors import StoreError
from curation.review.store.connection import database_url, describe
from curation.review.store.store import Store, open_store


@contextmanager
def store_to_read(url: str | None = None) -> Iterator[Store]:
    """The store at `url`, as `open_store` finds it; a read-only SQLite file is copied aside. Raises StoreError."""
    address = database_url(url)
    file = Path(str(address.database))
    if address.get_backend_name() != "sqlite" or not file.is_file() or _writable(file):
        with closing(open_store(url)) as store:
            yield store
        return
    with tempfile.TemporaryDirectory(prefix="pairwright-") as folder:
        try:
            for suffix in ("", "-wal"):
                if Path(f"{file}{suffix}").is_file():
                    shutil.copyfile(f"{file}{suffix}", Path(folder) / f"copy.db{suffix}")
        except OSError as error:
            raise StoreError(f"{file} cannot be read ({error.strerror or error}); make it readable.") from None
        with closing(open_store(f"sqlite:///{Path(folder) / 'copy.db'}")) as store:
            store.place = describe(address)
            yield store


def _writable(file: Path) -> bool:
    return os.access(file, os.W_OK) and os.access(file.absolute().parent, os.W_OK)
