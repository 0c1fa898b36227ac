"""The model behind `serve.py`: loading it, and generating token by token.

Choices that make a request the same work each time: batch of one, a key-value cache that starts
empty, no compilation, deterministic algorithms wherever PyTorch has them (it warns where it has
none). With ``ignore_eos`` the tokens that end a text are never chosen (Transformers' own meaning of
``min_new_tokens``), so that exactly ``max_tokens`` are generated. Temperature 0 is greedy; else
temperature, top-k and top-p apply in this order, and one generator a request makes the draws.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# What says where a configuration came from, or which library read it, is not the model.
_NOT_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
_TAIL = 6  # ids of the prompt, enough for a character or a space that reaches into the answer


class BadRequest(ValueError):
    """What a client asked for cannot be done; the message goes to it with status 400."""


class Asked(NamedTuple):
    """One completion as asked for: ``messages`` for a chat, else ``prompt``; top_k 0 is off."""

    messages: list[dict[str, str]] | None
    prompt: str | None
    stream: bool
    include_usage: bool
    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    ignore_eos: bool


class Piece(NamedTuple):
    """What one generated token adds: its text (maybe empty), and why it was the last one."""

    text: str
    finish: str | None


class Detokenizer:
    """Token ids to text, as they come; half a UTF-8 character is held back until it is whole.

    ``decode`` gives the text of a list of ids. The text of a token may depend on those before it
    (a leading space, a character spread over tokens), so a short tail is decoded again each time;
    ``before`` are the last ids of the prompt.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(before)  # from the last point but one where the text was whole
        self._shown = len(self._ids)  # how many of them have been given out

    def add(self, token: int) -> str:
        """The text that ``token`` completes; empty where its character is not whole yet."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith("\ufffd"):
            return ""
        self._ids, self._shown = self._ids[self._shown :], len(self._ids) - self._shown
        return text

    def rest(self) -> str:
        """What was held back at the end, with U+FFFD in place of what never became whole."""
        return self._new()

    def _new(self) -> str:
        before = self._decode(self._ids[: self._shown]) if self._shown else ""
        return self._decode(self._ids)[len(before) :]


def load(model: str, device: str, dtype: str, attn: str, max_context: int | None) -> Model:
    """The model and tokenizer at the path ``model``, having run once.

    Raises:
        FileNotFoundError: nothing is there; RuntimeError: no GPU, and one is asked for; and
        whatever else PyTorch and Transformers raise where they cannot.
    """
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; Transformers' switch leaves some
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True, warn_only=True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU: it is built without CUDA, or sees no driver")
    if device == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    path = Path(model)
    if not path.exists():
        raise FileNotFoundError("no such file or folder")
    folder, given = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    here = {**given, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **here)
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, dtype=_dtype(torch, dtype, device, folder, given), attn_implementation=attn, **here
    )
    loaded = loaded.to(device).eval()
    limit = getattr(loaded.config.get_text_config(), "max_position_embeddings", None)
    found = Model(loaded, tokenizer, device, max_context or limit or 2048)
    if limit and found.max_context > limit:
        raise ValueError(f"a context of {found.max_context} tokens; the model has {limit}")
    found.warm_up()
    return found


def _dtype(torch: Any, asked: str, device: str, folder: Path, given: dict[str, str]) -> Any:
    """``auto`` is what the folder's config.json says; a GGUF file says nothing that is computed
    in: bfloat16 on a GPU, float32 on a CPU."""
    if asked != "auto":
        return getattr(torch, asked)
    if not given:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        said = getattr(config.get_text_config(), "dtype", None)
        if said is not None:
            return said
    return torch.bfloat16 if device == "cuda" else torch.float32


class Model:
    """A loaded model; `answer` generates, `props` tells the configuration in effect."""

    def __init__(self, model: Any, tokenizer: Any, device: str, max_context: int) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self.max_context = max_context
        self._eos = _end_tokens(model, tokenizer)
        takes = inspect.signature(model.forward).parameters
        # Only the last position's logits are needed; a prompt's would be prompt × vocabulary.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @property
    def title(self) -> str:
        model = self._model
        return f"{model.config.model_type}, {model.dtype}, {_device_name(self._device)}"

    def warm_up(self) -> None:
        """One token, so that what cannot run is found now, and not by the first request."""
        asked = Asked(None, "a", False, False, 1, 0.0, 1.0, 0, None, True)
        list(self.answer(asked)[1])

    def answer(self, asked: Asked) -> tuple[int, Iterator[Piece]]:
        """The number of prompt tokens, and the tokens of the answer as they are generated.

        Raises:
            BadRequest: the prompt is empty, has no template, or leaves no room for the answer.
        """
        ids = self._prompt(asked)
        room = self.max_context - len(ids)
        wanted = room if asked.max_tokens is None else asked.max_tokens
        if not 0 < wanted <= room:
            raise BadRequest(
                f"{len(ids)} prompt tokens and {asked.max_tokens or 1} more are over the context "
                f"of {self.max_context}"
            )
        return len(ids), self._pieces(ids, wanted, asked)

    def _prompt(self, asked: Asked) -> list[int]:
        """Token ids of the prompt; a chat's template writes its special tokens itself."""
        if asked.messages is None:
            ids = self._tokenizer(asked.prompt)["input_ids"]
        else:
            if not self._tokenizer.chat_template:
                raise BadRequest("this model has no chat template: use /v1/completions")
            try:
                text = self._tokenizer.apply_chat_template(
                    asked.messages, tokenize=False, add_generation_prompt=True
                )
            except Exception as error:  # templates raise for roles that they do not know
                raise BadRequest(f"the chat template refuses: {error}") from error
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise BadRequest("the prompt is empty")
        return list(ids)

    def _pieces(self, ids: list[int], wanted: int, asked: Asked) -> Iterator[Piece]:
        words = Detokenizer(
            lambda some: self._tokenizer.decode(
                some, skip_special_tokens=True, clean_up_tokenization_spaces=False
            ),
            before=ids[-_TAIL:],
        )
        for number, token in enumerate(self._tokens(ids, asked), 1):
            if not asked.ignore_eos and token in self._eos:
                yield Piece(words.rest(), "stop")
                return
            text = words.add(token)
            if number == wanted:
                yield Piece(text or words.rest(), "length")
                return
            yield Piece(text, None)

    def _tokens(self, ids: list[int], asked: Asked) -> Iterator[int]:
        """Tokens without end. Each has left the device when it is given out: the host waits for
        it, so that the time at which its text is sent is the time at which it was there."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            choose = _chooser(asked, self._eos, self._device)
            cache = DynamicCache(config=self._model.config)
            fed = torch.tensor([ids], device=self._device)
            while True:
                out = self._model(
                    input_ids=fed, past_key_values=cache, use_cache=True, **self._last_only
                )
                fed = choose(out.logits[:, -1, :].float())
                yield int(fed)

    def props(self) -> dict[str, Any]:
        """What is in effect, for the record; nothing in it names the machine."""
        import torch
        import transformers

        model = self._model
        config = {k: v for k, v in model.config.to_dict().items() if k not in _NOT_THE_MODEL}
        canonical = json.dumps(config, sort_keys=True, default=str).encode()
        on_gpu = self._device == "cuda"
        return {
            "model_type": model.config.model_type,
            "config_sha256": hashlib.sha256(canonical).hexdigest(),
            "parameters": model.num_parameters(),
            "parameter_bytes": sum(p.numel() * p.element_size() for p in model.parameters()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": _device_name(self._device),
            "attention": model.config._attn_implementation,
            "max_context": self.max_context,
            "end_tokens": sorted(self._eos),
            "chat_template_sha256": _sha256(self._tokenizer.chat_template),
            "batching": "none: one request after another",
            "cache": "dynamic, empty at the start of each request",
            "deterministic_algorithms": "warn where there is none",
            "cublas_workspace_config": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "cuda": torch.version.cuda if on_gpu else None,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
            "compute_capability": list(torch.cuda.get_device_capability()) if on_gpu else None,
            "threads": torch.get_num_threads(),
        }


def _chooser(asked: Asked, eos: frozenset[int], device: str) -> Callable[[Any], Any]:
    """Logits (1 × vocabulary, float32) to the next token (1 × 1), both on the device."""
    import torch
    from transformers.generation import logits_process as process

    steps = process.LogitsProcessorList()
    if asked.ignore_eos and eos:
        steps.append(process.SuppressTokensLogitsProcessor(sorted(eos), device=device))
    if asked.temperature == 0:
        return lambda logits: steps(None, logits).argmax(-1, keepdim=True)
    steps.append(process.TemperatureLogitsWarper(asked.temperature))
    if asked.top_k:
        steps.append(process.TopKLogitsWarper(asked.top_k))
    if asked.top_p < 1:
        steps.append(process.TopPLogitsWarper(asked.top_p))
    draws = torch.Generator(device)
    draws.seed() if asked.seed is None else draws.manual_seed(asked.seed)
    return lambda logits: torch.multinomial(steps(None, logits).softmax(-1), 1, generator=draws)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text, as the model's and the tokenizer's own files say."""
    said = [model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id]
    listed = [ids if isinstance(ids, list) else [ids] for ids in said]
    return frozenset(int(i) for ids in listed for i in ids if i is not None)


def _device_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name()) if device == "cuda" else "CPU"


def _sha256(text: Any) -> str | None:
    return hashlib.sha256(str(text).encode()).hexdigest() if text else None
