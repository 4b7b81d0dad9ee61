"""Argilla 2: a JSON list of records, and the settings of the dataset that takes them.

Written without the SDK, whose Settings object wants a server. `Settings.from_json` and `Dataset.records.from_json`
read these two files.
"""

from __future__ import annotations

from typing import Any

from curation.batch.answers import GRADED, Answers
from curation.batch.presentation import ExportHeader, Presented
from curation.pool.messages import plain_messages

GUIDELINES = (
    "Read the prompt and both responses. Choose the response that answers the prompt better. Choose the tie only when "
    "neither is better."
)
GRADED_GUIDELINES = (
    "Read the prompt and both responses. Say which response answers the prompt better, and whether it is much or "
    "slightly better. Choose the tie only when neither is better, and Both are bad when neither is acceptable."
)
METADATA = {
    "pair_id": "terms",
    "batch_id": "terms",
    "left_id": "terms",
    "right_id": "terms",
    "copy": "integer",
    "manifest_hash": "terms",
    "unsigned": "terms",
    "audit_head": "terms",
}


def record(row: Presented, header: ExportHeader) -> dict[str, Any]:
    """One record: `response_a` is the left response, `response_b` the right one."""
    metadata: dict[str, Any] = {
        "pair_id": row.pair_id,
        "batch_id": header.batch_id,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "copy": row.copy,
        "manifest_hash": header.manifest_hash,
    }
    if header.graded:
        metadata["answers"] = header.answers
    if not header.signed:
        metadata["unsigned"] = "true"  # terms are text
    elif header.audit_head is not None:
        metadata["audit_head"] = header.audit_head
    return {
        "id": f"{row.pair_id}.{row.number}",
        "fields": {
            "prompt": plain_messages(row.prompt),
            "response_a": row.left,
            "response_b": row.right,
        },
        "metadata": metadata,
    }


def settings(answers: Answers = "binary", *, min_submitted: int = 1, guidelines: str | None = None) -> dict[str, Any]:
    """The dataset: a chat prompt, two plain texts, one question, and metadata that annotators do not see.

    min_submitted: how many different people answer a record; Argilla shows it to nobody twice. guidelines:
    the batch's own; else a short text of ours.
    """
    graded = answers == "graded"
    words = {"a": "Response A", "b": "Response B", "tie": "Tie"}
    if graded:
        words = {
            value.replace("left", "a").replace("right", "b"): text.format(left="Response A", right="Response B")
            for value, text in GRADED.items()
        }
    return {
        "guidelines": guidelines or (GRADED_GUIDELINES if graded else GUIDELINES),
        "fields": [
            _field("prompt", "Prompt", "chat"),
            _field("response_a", "Response A", "text"),
            _field("response_b", "Response B", "text"),
        ],
        "questions": [
            {
                "name": "preference",
                "title": "Which response is better?",
                "description": None,
                "required": True,
                "settings": {
                    "type": "label_selection",
                    "options": [{"value": value, "text": text} for value, text in words.items()],
                    "visible_options": len(words),
                },
            }
        ],
        "metadata": [
            {
                "name": name,
                "title": name,
                "visible_for_annotators": False,
                "settings": {"type": kind, "visible_for_annotators": False},
            }
            for name, kind in {**METADATA, **({"answers": "terms"} if graded else {})}.items()
        ],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": min_submitted},
    }


def _field(name: str, title: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "required": True,
        "description": None,
        "settings": {"type": kind, "use_markdown": False},
    }
