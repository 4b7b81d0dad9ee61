"""Label Studio: a JSON list of tasks, and the labelling interface to go with it.

No predictions are shipped: they anchor annotators. Texts are shown by `Text`, which does not interpret HTML.
"""

from __future__ import annotations

from typing import Any, Literal

from curation.exchange_formats.common import ExportHeader, Presented
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


def labelling_config(control: Control = "choices") -> str:
    """The interface as XML: `choices` asks left, right or tie (keys 1, 2, 3); `pairwise` knows no tie."""
    return _VIEW.format(control=_CHOICES if control == "choices" else _PAIRWISE)


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
    }
    return {
        "data": {**data, **({} if header.signed else mark)},
        "meta": {"manifest_hash": header.manifest_hash, **mark},
    }
