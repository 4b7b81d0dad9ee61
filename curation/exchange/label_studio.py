"""Label Studio: a JSON list of tasks, and the labelling interface to go with it.

No predictions are shipped: they anchor annotators. Texts are shown by `Text`, which does not interpret HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from curation.batch.answers import GRADED, Answers
from curation.batch.presentation import ExportHeader, Presented
from curation.pool.schema import prompt_text

Control = Literal["choices", "pairwise"]

_CHOICES = """\
  <Header value="Which answer is better?"/>
  <Choices name="preference" toName="prompt" choice="single" required="true" showInline="true">
    <Choice value="left" hotkey="1"/>
    <Choice value="right" hotkey="2"/>
    <Choice value="tie" hotkey="3"/>
  </Choices>
"""
_PAIRWISE = """\
  <Header value="Select the better answer"/>
  <Pairwise name="preference" toName="answer1,answer2" leftClass="left" rightClass="right"/>
"""
_GRADED = """\
  <Header value="Which answer is better, and by how much?"/>
  <Choices name="preference" toName="prompt" choice="single" required="true" showInline="true">
{choices}  </Choices>
"""
_GRADED_PAIRWISE = """\
  <Header value="Select the better answer (none when they are equal, or both bad)"/>
  <Pairwise name="preference" toName="answer1,answer2" leftClass="left" rightClass="right"/>
  <Header value="How much better is it?"/>
  <Choices name="strength" toName="prompt" choice="single" required="true" showInline="true">
    <Choice value="Much better" alias="much" hotkey="1"/>
    <Choice value="Slightly better" alias="slightly" hotkey="2"/>
    <Choice value="Tie" alias="tie" hotkey="3"/>
    <Choice value="Both are bad" alias="both_bad" hotkey="4"/>
  </Choices>
"""
_VIEW = """\
<View>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt" valueType="text"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; column-gap: 1.5em">
    <View>
      <Header value="Left"/>
      <Text name="answer1" value="$answer1" valueType="text"/>
    </View>
    <View>
      <Header value="Right"/>
      <Text name="answer2" value="$answer2" valueType="text"/>
    </View>
  </View>
{control}</View>
"""


def labelling_config(control: Control = "choices", answers: Answers = "binary") -> str:
    """The interface as XML: `choices` asks left, right or tie (keys 1, 2, 3); `pairwise` knows no tie.

    Graded, `choices` asks for one of six (keys 1 to 6). `Pairwise` holds a side and nothing else, so a second control
    beside it asks for the strength, and for ties, which then need no side.
    """
    if answers == "binary":
        return _VIEW.format(control=_CHOICES if control == "choices" else _PAIRWISE)
    choices = "".join(
        f'    <Choice value="{text.format(left="Left", right="Right")}" alias="{value}" hotkey="{key}"/>\n'
        for key, (value, text) in enumerate(GRADED.items(), start=1)
    )
    return _VIEW.format(control=_GRADED.format(choices=choices) if control == "choices" else _GRADED_PAIRWISE)


def task(row: Presented, header: ExportHeader) -> dict[str, Any]:
    """One task. `data` has what the interface shows and what decodes the answer; `meta` where it comes from."""
    mark: dict[str, Any] = {"audit_head": header.audit_head} if header.signed else {"unsigned": True}
    data = {
        "prompt": prompt_text(row.prompt),
        "answer1": row.left,
        "answer2": row.right,
        "pair_id": row.pair_id,
        "batch_id": header.batch_id,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "copy": row.copy,
        **({"assigned_to": row.annotator} if header.assigned else {}),
    }
    return {
        "data": {**data, **({} if header.signed else mark), **({"answers": header.answers} if header.graded else {})},
        "meta": {"manifest_hash": header.manifest_hash, **mark},
    }


def tabs(names: Sequence[str]) -> list[dict[str, Any]]:
    """One tab of the Data Manager for each annotator, with the tasks that are hers.

    Each entry, with the number of the project as `project`, is what `POST /api/dm/views/` takes.
    """
    return [
        {
            "data": {
                "title": name,
                "filters": {
                    "conjunction": "and",
                    "items": [
                        {
                            "filter": "filter:tasks:data.assigned_to",
                            "operator": "equal",
                            "type": "String",
                            "value": name,
                        }
                    ],
                },
            }
        }
        for name in names
    ]
