"""What annotation tools write, as far as it is read: the shape of one item, checked before an answer is looked for."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from curation.errors import ImportLabelsError
from curation.pool.schema import plain_reason

Model = TypeVar("Model", bound=BaseModel)


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("must be text or a number")
    return value


def _list(value: Any) -> Any:
    return [] if value is None else value


def _object(value: Any) -> Any:
    return {} if value is None else value


Plain = Annotated[Any, BeforeValidator(_scalar)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class StudioValue(_Item):
    """What a part of a result says."""

    choices: list[Plain] | None = None
    selected: Plain = None
    rating: Plain = None
    number: Plain = None


class StudioPart(_Item):
    """A part of a result: one control's answer."""

    from_name: Any = None
    type: Any = None
    value: Annotated[StudioValue, BeforeValidator(_object)] = Field(default_factory=StudioValue)


class StudioUser(_Item):
    """Who answered, where the export spells it out."""

    id: Plain = None
    email: Plain = None


class StudioAnnotation(_Item):
    """One annotator's answer to a task."""

    completed_by: StudioUser | StrictStr | int | float | None = None
    result: Annotated[list[StudioPart], BeforeValidator(_list)] = Field(default_factory=list)
    lead_time: Plain = None
    was_cancelled: Plain = None


class StudioTask(_Item):
    """A task of Label Studio's JSON export."""

    data: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(default_factory=dict)
    annotations: Annotated[list[StudioAnnotation], BeforeValidator(_list)] = Field(default_factory=list)


class ArgillaValue(_Item):
    """What a question was answered with."""

    value: Plain = None


class ArgillaResponse(_Item):
    """One annotator's response, as the server's API gives it."""

    status: Plain = None
    user_id: Plain = None
    values: Annotated[dict[str, ArgillaValue | None], BeforeValidator(_object)] = Field(default_factory=dict)


class ArgillaAnswer(_Item):
    """One answer to one question, as the SDK writes it."""

    value: Plain = None
    user_id: Plain = None
    status: Plain = None


class ArgillaAnswers(_Item):
    """Answers by question, as the SDK writes them."""

    preference: Annotated[list[ArgillaAnswer], BeforeValidator(_list)] = Field(default_factory=list)
    strength: Annotated[list[ArgillaAnswer], BeforeValidator(_list)] = Field(default_factory=list)


class ArgillaRecord(_Item):
    """A record of Argilla; `responses` by annotator (API) or by question (SDK)."""

    metadata: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(default_factory=dict)
    responses: Annotated[list[ArgillaResponse] | ArgillaAnswers, BeforeValidator(_list)] = Field(default_factory=list)


def shaped(model: type[Model], item: Any, place: str) -> Model:
    """`item` as a model. Raises ImportLabelsError naming the field that has another shape."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise ImportLabelsError(
            f"{place}: {plain_reason(error)}, so it is not what the tool writes; export it again."
        ) from None
