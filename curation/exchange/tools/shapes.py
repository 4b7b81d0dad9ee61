"""Parts of the shapes of what tools write: an item is checked before an answer is looked for in it."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from curation.errors import ImportLabelsError
from curation.pool.schema import plain_reason

Model = TypeVar("Model", bound=BaseModel)


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("must be text or a number")
    return value


Plain = Annotated[Any, BeforeValidator(_scalar)]
OR_LIST = BeforeValidator(lambda value: [] if value is None else value)
OR_OBJECT = BeforeValidator(lambda value: {} if value is None else value)


class Item(BaseModel):
    """An object of an export, with whatever else stands in it."""

    model_config = ConfigDict(extra="allow", frozen=True)


def shaped(model: type[Model], item: Any, place: str) -> Model:
    """`item` as a model. Raises ImportLabelsError naming the field that has another shape."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise ImportLabelsError(
            f"{place}: {plain_reason(error)}, so it is not what the tool writes; export it again."
        ) from None
