"""Loading a model and its tokenizer: safetensors only, a model's own code only when asked for twice, no hanging."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curation.device import resolve_device
from curation.errors import RepresentationError

log = logging.getLogger(__name__)
ModelDtype = Literal["auto", "float32", "bfloat16", "float16"]
TRUST = "CURATION_TRUST_REMOTE_CODE"  # names the one model whose own code may run, beside --trust-remote-code
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_HASHED = [
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "*.safetensors",
    "*.py",
]
_UNWANTED = ["original/*", "consolidated*", "onnx/*", "openvino/*"]


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run."""

    model: Any  # transformers.PreTrainedModel in eval mode
    tokenizer: Any
    causal: bool  # has a language-model head that gives next-token probabilities
    device: str
    name: str  # as asked for
    revision: str  # commit of the hub, or 16 hex digits over the folder's files
    max_tokens: int | None  # positions the model has; None when it sets no limit
    notes: tuple[str, ...]


def load_model(
    name: str, *, device: str = "auto", dtype: ModelDtype = "auto", trust_remote_code: bool = False
) -> LoadedModel:
    """Load `name`, a folder or a hub name, in eval mode.

    dtype: "auto" is float32 on the CPU; on CUDA the checkpoint's own type, bfloat16 for float32 checkpoints.
    trust_remote_code: run code from the model's folder; only where the environment names this model too (TRUST).
    Raises RepresentationError with a remedy when it is missing, not in safetensors, needs its own code, is an
    encoder-decoder, or lacks weights.
    """
    import transformers
    from safetensors import SafetensorError

    if trust_remote_code and os.environ.get(TRUST) != name:
        raise RepresentationError(
            f"--trust-remote-code lets {name} run its own code on this machine and must be asked for twice; read that "
            f"code, then set {TRUST}={name} as well."
        )
    quiet()
    folder, revision = _locate(name, code=trust_remote_code)
    target = resolve_device(device)
    refuse_adapter(name, folder)
    if not list(folder.glob("*.safetensors")):
        if list(folder.glob("*.gguf")):
            raise RepresentationError(_gguf(name))
        raise RepresentationError(
            f"model {name} has no .safetensors weights in {folder}; only safetensors are read, because pickled weights "
            "can run code. Convert it with model.save_pretrained(folder), or choose another model."
        )
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        if getattr(config, "is_encoder_decoder", False):
            raise RepresentationError(
                f"model {name} is an encoder-decoder ({config.model_type}); use a causal language model or an encoder."
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        causal, auto = _kind(config)
        model, loading = auto.from_pretrained(
            folder,
            config=config,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            use_safetensors=True,
            dtype=_dtype(dtype, config, target),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise RepresentationError(_not_loaded(name, folder, error)) from error
    causal, notes = _check_weights(name, causal, loading)
    notes += _own_pooling(name, folder)
    model.to(target).eval()
    return LoadedModel(model, tokenizer, causal, target, name, revision, _max_tokens(config, tokenizer), notes)


def refuse_adapter(name: str | Path, folder: Path) -> None:
    """An adapter (LoRA) is never applied silently, nor left out: merged weights are asked for."""
    mark = folder / "adapter_config.json"
    if not mark.is_file():
        return
    try:
        base = json.loads(mark.read_text(encoding="utf-8"))["base_model_name_or_path"] or "its base model"
    except (OSError, ValueError, KeyError, TypeError):
        base = "its base model"
    whole = any(not path.name.startswith("adapter_") for path in folder.glob("*.safetensors"))
    also = "; or move adapter_config.json away to read the model beside it without the adapter" if whole else ""
    raise RepresentationError(
        f"model {name} holds an adapter of {base}, which is not applied here; load it on its base with peft, merge it "
        f"(merge_and_unload), save that with save_pretrained and give the new folder{also}."
    )


def _not_loaded(name: str, folder: Path, error: Exception) -> str:
    """Why a model could not be loaded, and what to do."""
    why = _first_line(error)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        method = config.get("quantization_config", {}).get("quant_method", "")
    except (OSError, ValueError, AttributeError):
        method = ""
    if method:
        remedy = f"its weights are quantised ({method}), which takes packages beyond ours: use the unquantised model"
    elif "ignore_mismatched_sizes" in str(error):
        why, remedy = "its weights have other shapes than config.json says", "use a checkpoint that is of one piece"
    elif type(error).__name__ == "SafetensorError":
        remedy = "its weights are damaged or only a pointer of Git LFS: fetch them again (git lfs pull)"
    else:
        remedy = (
            "it needs config.json, a tokenizer and safetensors weights of an architecture that transformers knows "
            "without extra code"
        )
    return f"model {name} cannot be loaded ({why}); {remedy}."


def _gguf(name: str) -> str:
    return (
        f"model {name} is a GGUF file, made for llama.cpp; give the folder it was made from, or make one of it: "
        "transformers reads most (AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME), then save_pretrained "
        "of model and tokenizer). A small model ready to use: python -m curation model smollm2 --out FOLDER."
    )


def _own_pooling(name: str, folder: Path) -> tuple[str, ...]:
    """What a sentence-transformers folder says of itself and is not done here unasked."""
    try:
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    if not isinstance(pooling, dict) or not (folder / "modules.json").is_file():
        return ()
    mean = pooling.get("pooling_mode_mean_tokens") or pooling.get("pooling_mode") == "mean"
    limit = ""
    try:
        settings = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        limit = f" and reads at most {int(settings['max_seq_length']):,} tokens"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    own = "the mean over tokens" if mean else "its own pooling"
    return (
        f"model {name} is of sentence-transformers, which takes {own}{limit}; here --pooling and the model's positions "
        f"decide{': --pooling mean comes nearest' if mean else ''}.",
    )


def _dtype(asked: ModelDtype, config: Any, target: str) -> str:
    if asked != "auto":
        return asked
    if not target.startswith("cuda"):
        return "float32"
    stored = str(getattr(config, "dtype", None) or "").removeprefix("torch.")
    return "auto" if stored in ("bfloat16", "float16") else "bfloat16"


def _locate(name: str, *, code: bool = False) -> tuple[Path, str]:
    """The folder that holds the model, and its revision. A hub name is looked up in the cache first."""
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        raise RepresentationError(_gguf(name))
    if path.is_dir():
        return path, folder_revision(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.exists():
        raise RepresentationError(
            f"model folder {name} does not exist; give a folder, a hub name such as gpt2, or fit."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = [*_WANTED, "*.py"] if code else _WANTED
    options: dict[str, Any] = {"allow_patterns": wanted, "ignore_patterns": _UNWANTED}
    try:
        try:
            folder = Path(snapshot_download(name, local_files_only=True, **options))
            if not list(folder.glob("*.safetensors")):  # a cache with the tokenizer alone
                raise LocalEntryNotFoundError("no weights in the cache")
        except LocalEntryNotFoundError:
            log.info("model %s is not in the cache; asking the hub", name)
            folder = Path(snapshot_download(name, etag_timeout=10, **options))
    except LocalEntryNotFoundError as error:
        raise RepresentationError(
            f"model {name} is neither a folder nor in the Hugging Face cache, and the hub cannot be reached (no "
            "network, or HF_HUB_OFFLINE is set); give a local folder, use --model fit, or download it elsewhere "
            "and copy the cache (HF_HOME)."
        ) from error
    except Exception as error:  # the hub's library changes what it raises; a download that fails is told in words
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        remedy = (
            "free some space, or set HF_HOME to a folder on another disk"
            if full
            else "check the network, the name and, for gated models, HF_TOKEN; what has arrived is kept, so try again, "
            "or give a local folder"
        )
        raise RepresentationError(
            f"model {name} cannot be had from the hub ({_first_line(error)}); {remedy}."
        ) from error
    return folder, folder.name


def _kind(config: Any) -> tuple[bool, Any]:
    """Whether the model predicts the next token, and the class that loads it.

    Masked models are encoders, though transformers can load them as causal ones. A model of pictures and text is read
    as the language model it is, with texts alone.
    """
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    own = getattr(config, "auto_map", None) or {}  # classes of the model's own code, where that was trusted
    if "AutoModelForCausalLM" in own:
        return True, transformers.AutoModelForCausalLM
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            return True, transformers.AutoModelForImageTextToText
        return False, transformers.AutoModel
    if config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or bool(getattr(config, "is_decoder", False)):
        return True, transformers.AutoModelForCausalLM
    return False, transformers.AutoModel


def _check_weights(name: str, causal: bool, loading: Any) -> tuple[bool, tuple[str, ...]]:
    """A checkpoint without a head is an encoder; one that lacks anything else would run on random numbers."""
    missing = sorted(str(key) for key in loading["missing_keys"])
    heads = [key for key in missing if "lm_head" in key or key.startswith(("embed_out", "output."))]
    others = [key for key in missing if key not in heads and "pooler" not in key]
    if others or loading.get("mismatched_keys"):
        first = others[0] if others else "one of another shape"
        raise RepresentationError(
            f"the checkpoint of model {name} lacks {len(others)} weights (first: {first}), so it would run "
            "on random numbers; use a complete checkpoint."
        )
    if heads:
        return False, (f"model {name} has no language-model head: no log-probabilities.",)
    return causal, ()


def _max_tokens(config: Any, tokenizer: Any) -> int | None:
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limits = []
    positions = getattr(text, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # RoBERTa and its kin number positions from the padding index + 1
        offset = (text.pad_token_id or 0) + 1 if "roberta" in text.model_type or text.model_type == "camembert" else 0
        limits.append(positions - offset)
    if tokenizer.model_max_length < 10**9:  # tokenizers without a limit say 1e30
        limits.append(int(tokenizer.model_max_length))
    return min(limits) if limits else None


def folder_revision(folder: Path) -> str:
    """16 hex digits over the names and contents of the configuration, tokenizer and weights."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _HASHED for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(json.dumps([path.name, hashlib.file_digest(file, "sha256").hexdigest()]).encode())
    return digest.hexdigest()[:16]


def quiet() -> None:
    """Switch off the progress bars of transformers: stderr is for people, and ours say more."""
    import transformers

    transformers.utils.logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
