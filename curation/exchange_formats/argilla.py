"""Argilla 2: a JSON list of records, and the settings of the dataset that takes them.

Written without the SDK, whose Settings object wants a server. `Settings.from_json` and `Dataset.records.from_json`
read these two files.
"""

from __future__ import annotations

from typing import Any

from curation.exchange_formats.common import ExportHeader, Presented

GUIDELINES = (
    "Read the prompt and both responses. Choose the response that answers the prompt better. Choose the tie only when "
    "neither is better."
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
    prompt = [{"role": "user", "content": row.prompt}] if isinstance(row.prompt, str) else row.prompt
    metadata: dict[str, Any] = {
        "pair_id": row.pair_id,
        "batch_id": header.batch_id,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "copy": row.copy,
        "manifest_hash": header.manifest_hash,
    }
    if not header.signed:
        metadata["unsigned"] = "true"  # terms are text
    elif header.audit_head is not None:
        metadata["audit_head"] = header.audit_head
    return {
        "id": f"{row.pair_id}.{row.number}",
        "fields": {
            "prompt": [{"role": m["role"], "content": m["content"]} for m in prompt],
            "response_a": row.left,
            "response_b": row.right,
        },
        "metadata": metadata,
    }


def settings() -> dict[str, Any]:
    """The dataset: a chat prompt, two plain texts, one question, and metadata that annotators do not see."""
    return {
        "guidelines": GUIDELINES,
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
                    "options": [
                        {"value": "a", "text": "Response A"},
                        {"value": "b", "text": "Response B"},
                        {"value": "tie", "text": "Tie"},
                    ],
                    "visible_options": 3,
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
            for name, kind in METADATA.items()
        ],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
    }


def _field(name: str, title: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "required": True,
        "description": None,
        "settings": {"type": kind, "use_markdown": False},
    }
