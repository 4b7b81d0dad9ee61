"""Why a person may not sign a batch, told before the button is pressed rather than after."""

from __future__ import annotations

import os
from collections.abc import Sequence

from curation.batch.folder import BatchFolder
from curation.errors import StoreError
from curation.review.checklist import Check
from curation.review.signoff import SELF_SIGN
from curation.review.store.names import look
from curation.review.store.store import Store


def hindrance(batch: BatchFolder, store: Store, who: str, checks: Sequence[Check]) -> str | None:
    """What keeps `who` from signing now, in a sentence; None where nothing does. `sign_batch` decides all the same."""
    try:
        store.require(who, "approver")
    except StoreError as error:
        return str(error)
    stored = next((one for one in store.batches() if one.batch_id == batch.batch_id), None)
    if stored is not None and look(stored.created_by) == look(who) and os.environ.get(SELF_SIGN, "") != "1":
        return (
            f"{who} proposed this batch, and who proposes does not sign: a second person opens this page and signs. "
            "(One person does both where the dashboard was started with CURATION_SELF_SIGN=1.)"
        )
    open_ones = [check for check in checks if check.required and not check.holds]
    if open_ones:
        told = "; ".join(f"{check.name.lower()} ({check.shown})" for check in open_ones)
        return f"Not ready to be signed. What is needed: {told}."
    return None
