"""Which device the tensors live on."""

from __future__ import annotations

from curation.errors import DesignError


def resolve_device(name: str = "auto") -> str:
    """`cuda` where a GPU is visible and `auto` was asked, else the device named. Raises DesignError if absent."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not name.startswith("cuda"):
        raise DesignError(f"device {name!r} is unknown; use auto, cpu or cuda.")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DesignError(f"device {name!r} was asked for but torch sees no CUDA device; use --device cpu.")
    return name


def describe_device(name: str) -> str:
    """A name for people: the GPU's model, or `CPU (k threads)`."""
    import torch

    if name.startswith("cuda"):
        return str(torch.cuda.get_device_name(name))
    return f"CPU ({torch.get_num_threads()} threads)"
