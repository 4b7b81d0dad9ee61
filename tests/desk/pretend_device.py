"""A device that a CPU machine can pretend to have: tensors on it compute on the CPU, and meet no CPU tensor.

The rules are those of an accelerator: an operation takes tensors of one device, numbers and tensors without dimensions
excepted; indices may lie on the CPU; only copies cross. `numpy()` without `cpu()` fails, as it would there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "lazy"  # which torch knows and has no backend for
DEVICE = torch.device(NAME)
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class DeviceError(RuntimeError):
    """Tensors of two devices met."""


class Away(torch.Tensor):
    """A tensor on the pretended device. inner: the CPU tensor that it computes with."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Away:
        made: Away = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.inner = inner
        return made

    def tolist(self) -> Any:
        return self.inner.tolist()  # crosses by itself, as on an accelerator

    def __setitem__(self, where: Any, value: Any) -> None:
        if isinstance(value, torch.Tensor) and not isinstance(value, Away) and value.dim():
            raise DeviceError(f"setting {tuple(value.shape)} from the CPU in a tensor on {DEVICE}")
        at = tree_map(_inner, list(where) if isinstance(where, tuple) else where)
        self.inner[tuple(at) if isinstance(where, tuple) else at] = _inner(value)

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise DeviceError(f"numpy() of a tensor on {DEVICE}; call cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise DeviceError(f"a tensor on {DEVICE} as an array; call cpu() first")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _inner(part: Any) -> Any:
    return part.inner if isinstance(part, Away) else part


class _Making(TorchFunctionMode):
    """torch.tensor copies numbers past every dispatch mode: made on the CPU, then brought over."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and torch.device(given.get("device") or "cpu").type == NAME:
            if isinstance(args[0], Away):
                return func(*args, **given)
            return func(*args, **{**given, "device": "cpu"}).to(DEVICE)
        return func(*args, **given)


@contextmanager
def pretended() -> Iterator[None]:
    """Within it, `device=DEVICE` makes tensors there."""
    with _Making(), _Pretend():
        yield


class _Pretend(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name = func._schema.name.split("::")[-1]
    flat = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
    away = any(isinstance(part, Away) for part in flat)
    wanted = kwargs.get("device")
    if name not in ("copy_", "_to_copy"):
        looked = flat
        if name in _INDEXED:
            looked = [part for part in tree_flatten((args[0], args[2:]))[0] if isinstance(part, torch.Tensor)]
        there = [part for part in looked if isinstance(part, Away)]
        here = [part for part in looked if not isinstance(part, Away) and part.dim()]
        if (there and here) or (name in _INDEXED and not isinstance(args[0], Away) and away):
            raise DeviceError(
                f"{name}: a tensor on the CPU, {tuple(here[0].shape) if here else '()'}, meets one on {DEVICE}"
            )
    if wanted is not None and torch.device(wanted).type == DEVICE.type:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    to = torch.device(wanted).type if wanted is not None else (DEVICE.type if away else "cpu")
    inner = tree_map(_inner, (args, kwargs))
    made = func(*inner[0], **inner[1])
    if name.endswith("_") and not name.endswith("__"):
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    if name == "_to_copy" and to == "cpu" and away:
        return made.clone() if made is inner[0][0] else made
    if to != DEVICE.type:
        return made
    return tree_map(lambda part: Away(part) if isinstance(part, torch.Tensor) else part, made)
