"""Hugging Face Transformers on PyTorch as an engine of kit's thin server (see `adapter.py`).

    --device auto|cpu|cuda  --dtype auto|bfloat16|float16|float32  --attn sdpa|eager
    --quantise int8|int4  --tensor-parallel N

``--model`` is a folder with config.json, safetensors and tokenizer, or one GGUF file, which
Transformers dequantises. ``--quantise`` then rounds the weights of all linear layers but the last
by torchao, each row or group to its own scale; what is computed in stays the dtype. With
``--tensor-parallel`` N processes, on a GPU each, share every layer by Transformers' own plan for
the model's kind (`ranks.py`): all of them run what is below, and the server's alone answers.

Choices that make a request the same work each time: a key-value cache that starts empty, no
compilation, deterministic algorithms wherever PyTorch has them (it warns where it has none). With
``ignore_eos`` the tokens that end a text are never chosen (Transformers' own meaning of
``min_new_tokens``), so that exactly ``max_tokens`` are generated. Temperature 0 is greedy; else
temperature, top-k and top-p apply in this order, and one generator a request makes the draws.

A batch is static: prompts are padded on the left, masked, and decoded in lockstep until the last
one has ended. Its size is the same from the first step to the last.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapter import Row, TextEngine
from ranks import Ranks

NAME = "transformers"
BATCHES = True
GROUP = 32  # weights that share a scale in int4

# What says where a configuration came from, or which library read it, is not the model.
_NOT_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--dtype", choices=["auto", "bfloat16", "float16", "float32"], default="auto")
    add("--attn", choices=["sdpa", "eager"], default="sdpa")
    add("--quantise", choices=["int8", "int4"])
    add("--tensor-parallel", type=int, choices=range(1, 1025), default=1, metavar="N")


def load(args: argparse.Namespace, ranks: Ranks | None = None) -> Engine:
    """The model and tokenizer at ``args.model``, having run once; as one of the ``ranks``.

    Raises:
        FileNotFoundError: nothing is there; RuntimeError: no GPU, and one is asked for; and
        whatever else PyTorch and Transformers raise where they cannot.
    """
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; Transformers' switch leaves some
    import torch

    # torchao, which Transformers imports, names each of its kernels that is not for this host,
    # PyTorch what torchao will have to change, and Transformers each layer that ranks have whole.
    for noisy in ("torchao", "torch.utils._pytree", "transformers.distributed.tensor_parallel"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory before it is written: to fill it first is a kernel for each tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU: it is built without CUDA, or sees no driver")
    path = Path(args.model)
    if not path.exists():
        raise FileNotFoundError("no such file or folder")
    folder, given = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    here = {**given, "local_files_only": True}
    ranks = ranks or Ranks(NAME, args.tensor_parallel)
    if ranks.size > 1:
        _check_shared(AutoConfig.from_pretrained(folder, **here), ranks.size, args.quantise)
    if device == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks.size))
    with ranks.one_fate():
        ranks.join(args, device)
        tokenizer = AutoTokenizer.from_pretrained(folder, **here)
        dtype = _dtype(torch, args.dtype, device, folder, given)
        how = {"dtype": dtype, "attn_implementation": args.attn, **_dense(given), **_plan(ranks)}
        model = AutoModelForCausalLM.from_pretrained(folder, **how, **here)
        model = model.to(device).eval()
        if given and ranks.size > 1:
            # Each rank's parts are views of whole tensors, which it dequantised: a copy lets the
            # rest go. Like `to`, this keeps tied parameters tied.
            model._apply(torch.clone)
        quantised = _quantise(model, args.quantise, device) if args.quantise else None
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        found = Engine(model, tokenizer, device, args.max_context or limit or 2048, ranks)
        found.quantised = quantised
        if limit and found.max_context > limit:
            raise ValueError(f"a context of {found.max_context} tokens; the model has {limit}")
        if ranks.rank == 0:
            found.warm_up(args.batch)
    return found


def _check_shared(config: Any, ranks: int, quantise: str | None) -> None:
    """
    Raises:
        ValueError: a rank would have a part of an attention head; torchao has no shared layers.
    """
    if quantise:
        raise ValueError("torchao cannot quantise layers that several ranks share")
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None) or ranks
    of_keys = getattr(text, "num_key_value_heads", None) or heads
    if heads % ranks or of_keys % ranks:
        raise ValueError(
            f"{heads} attention heads with {of_keys} of keys and values cannot be divided equally "
            f"among {ranks} ranks: choose a --tensor-parallel that divides both"
        )


def _plan(ranks: Ranks) -> dict[str, Any]:
    """What makes Transformers divide the layers, by the plan that it has for the model's kind."""
    if ranks.size == 1:
        return {}
    from transformers.distributed import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_size=ranks.size)}


def _dense(given: dict[str, str]) -> dict[str, Any]:
    """What keeps a GGUF file's weights from being computed with in its blocks, by kernels that
    Transformers would look for elsewhere."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)  # before 5.2x there was no other way
    return {"quantization_config": config(dequantize=True)} if given and config else {}


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


def _quantise(model: Any, wanted: str, device: str) -> str:
    """Quantise the weights in place; what was done, in words."""
    import torch
    import torchao
    from torchao import quantization
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

    common: dict[str, Any] = {"group_size": GROUP, "set_inductor_config": False}
    if wanted == "int8":
        config: Any = quantization.Int8WeightOnlyConfig(set_inductor_config=False)
        how = "int8, a scale for each row"
    elif device == "cpu":  # the layout of PyTorch's own kernel for CPUs
        config, how = PrototypeInt4WeightOnlyConfig(**common), f"int4, groups of {GROUP}"
    elif model.dtype == torch.bfloat16:  # that of its kernel for CUDA
        config = quantization.Int4WeightOnlyConfig(
            **common, int4_packing_format="tile_packed_to_4d"
        )
        how = f"int4, groups of {GROUP}"
    else:
        raise ValueError("int4 on a GPU is computed in bfloat16 alone: choose that dtype")
    last = model.get_output_embeddings()

    def chosen(module: Any, _: str) -> bool:
        return isinstance(module, torch.nn.Linear) and module is not last

    quantization.quantize_(model, config, filter_fn=chosen)
    return f"{how}, but for the last layer (torchao {torchao.__version__})"


def _bytes(tensor: Any) -> int:
    """What a tensor takes in this process's memory, as a part of another one all of that; a
    quantised one consists of several."""
    if hasattr(tensor, "to_local"):  # it is divided among the ranks
        tensor = tensor.to_local()
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.untyped_storage().nbytes())
    return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])


class Engine(TextEngine):
    """A loaded model and its tokenizer."""

    quantised: str | None = None

    def __init__(
        self, model: Any, tokenizer: Any, device: str, max_context: int, ranks: Ranks
    ) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._ranks = ranks
        self.max_context = max_context
        self.end_tokens = _end_tokens(model, tokenizer)
        held = sum(_bytes(p) for p in model.parameters())
        self._parts = ranks.gathered({"device": _device_name(device), "parameter_bytes": held})
        shared = f", {ranks.size} ranks" if ranks.size > 1 else ""
        self.title = f"{model.config.model_type}, {model.dtype}, {_device_name(device)}{shared}"
        self._takes = inspect.signature(model.forward).parameters
        # Only the last position's logits are needed; a prompt's would be prompt × vocabulary.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        # Transformers 5.24 gave the argument another name.
        self._cache = "cache" if "cache" in self._takes else "past_key_values"

    def encode(self, text: str, special: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def decode(self, ids: list[int]) -> str:
        return str(
            self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def render(self, messages: list[dict[str, str]]) -> str | None:
        if not self._tokenizer.chat_template:
            return None
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        )

    def steps(self, rows: list[Row]) -> Iterator[list[int]]:
        """Tokens without end. Each has left the device when it is given out: the host waits for
        it, so that the time at which its text is sent is the time at which it was there."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            choose = _chooser(rows, self.end_tokens, self._device)
            kept = {self._cache: DynamicCache(config=self._model.config), "use_cache": True}
            fed, places = self._padded(rows)
            with self._ranks.batch(rows):
                going = True
                while going:
                    out = self._model(
                        input_ids=fed, **kept, **self._last_only, **(next(places) if places else {})
                    )
                    fed = choose(out.logits[:, -1, :].float())
                    yield fed.flatten().tolist()
                    going = self._ranks.agree(fed)

    def _padded(self, rows: list[Row]) -> tuple[Any, Iterator[dict[str, Any]] | None]:
        """The prompts (rows × longest), and for each step the mask and the positions of what is
        fed; None where no prompt is padded, and the model's own are the same."""
        import torch

        lengths = [len(row.ids) for row in rows]
        longest = max(lengths)
        padded = [[0] * (longest - len(row.ids)) + row.ids for row in rows]
        fed = torch.tensor(padded, device=self._device)
        if min(lengths) == longest:
            return fed, None
        if not {"attention_mask", "position_ids"} <= self._takes.keys():
            kind = self._model.config.model_type
            raise ValueError(f"prompts of unequal lengths cannot be batched: {kind} takes no mask")
        return fed, self._places(lengths, longest + max(row.wanted for row in rows))

    def _places(self, lengths: list[int], total: int) -> Iterator[dict[str, Any]]:
        import torch

        counts = torch.tensor(lengths, device=self._device).unsqueeze(1)
        padding = max(lengths) - counts
        column = torch.arange(total, device=self._device)
        mask = (column >= padding).long()
        # A row that is over may run past its context: it stays at the last position.
        positions = (column - padding).clamp(0, self.max_context - 1)
        begin, end = 0, max(lengths)
        while True:
            yield {"attention_mask": mask[:, :end], "position_ids": positions[:, begin:end]}
            begin, end = end, end + 1

    def props(self) -> dict[str, Any]:
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
            "parameter_bytes": sum(part["parameter_bytes"] for part in self._parts),
            "quantised": self.quantised,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": _device_name(self._device),
            "tensor_parallel": self._ranks.size,
            "ranks": self._parts,
            "attention": model.config._attn_implementation,
            "max_context": self.max_context,
            "end_tokens": sorted(self.end_tokens),
            "chat_template_sha256": _sha256(self._tokenizer.chat_template),
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


Choice = Callable[[Any], Any]


def _chooser(rows: list[Row], eos: frozenset[int], device: str) -> Choice:
    """Logits (rows × vocabulary, float32) to the next tokens (rows × 1), both on the device."""
    import torch

    if len({(row.asked.ignore_eos, row.asked.temperature == 0) for row in rows}) == 1 and (
        len(rows) == 1 or rows[0].asked.temperature == 0
    ):
        return _choice(rows[0].asked, eos, device)
    each = [_choice(row.asked, eos, device) for row in rows]
    return lambda logits: torch.cat([one(logits[i : i + 1]) for i, one in enumerate(each)])


def _choice(asked: Any, eos: frozenset[int], device: str) -> Choice:
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
