"""Hugging Face Diffusers on PyTorch as an engine of kit's thin server (see `adapter.py`).

    --device auto|cpu|cuda  --dtype auto|bfloat16|float16|float32

``--model`` is a pipeline's folder: model_index.json and a folder for each of its parts, with their
weights as safetensors. Its scheduler is the one that the folder names. A request's images are made
together, as one batch; one request runs after another.

Choices that make a request the same work each time: deterministic algorithms wherever PyTorch has
them, no compilation, and a generator for each image, on the CPU, so that the first noise is the
same on every device. The safety checker is not loaded: it is a model of its own, and blackens what
it dislikes. A denoising step is one that the scheduler took; some take one more than is asked for.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapter import BadRequest, Row
from pictures import PICTURES, Asked, Picture

NAME = "diffusers"
API = PICTURES
PNG_LEVEL = 1  # of compression: to shrink a file further takes longer than it is worth here
_UNLOADED = ("safety_checker", "feature_extractor", "image_encoder")


class PictureRow(Row):
    """A request whose prompt lost ``dropped`` tokens: those beyond what its text encoders take."""

    def __init__(self, asked: Asked, ids: list[int], dropped: int) -> None:
        super().__init__(asked, ids, asked.n)
        self.dropped = dropped


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--dtype", choices=["auto", "bfloat16", "float16", "float32"], default="auto")


def load(args: argparse.Namespace) -> Engine:
    """The pipeline at ``args.model``, having made one image.

    Raises:
        FileNotFoundError: no pipeline is there; RuntimeError: no GPU, and one is asked for; and
        whatever else PyTorch and Diffusers raise where they cannot.
    """
    os.environ["TQDM_DISABLE"] = "1"
    import torch

    # They warn of image processors without torchvision, which nothing here uses.
    for chatty in ("torchao", "transformers", "diffusers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    from diffusers import DiffusionPipeline

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU: it is built without CUDA, or sees no driver")
    if device == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    index = Path(args.model) / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError("no model_index.json: it is no folder of a pipeline")
    parts = json.loads(index.read_text("utf-8"))
    usual = "float32" if device == "cpu" else "bfloat16"
    dtype = getattr(torch, usual if args.dtype == "auto" else args.dtype)
    pipeline = DiffusionPipeline.from_pretrained(
        args.model,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        **{part: None for part in _UNLOADED if part in parts},
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    found = Engine(pipeline, device)
    found.warm_up()
    return found


class Engine:
    """A loaded pipeline; as `adapter.Engine`."""

    def __init__(self, pipeline: Any, device: str) -> None:
        import torch

        self._torch, self._pipeline, self._device = torch, pipeline, device
        self._takes = inspect.signature(pipeline.__call__).parameters
        self.title = f"{type(pipeline).__name__} on {device}"
        for needed in ("prompt", "generator", "callback_on_step_end", "num_images_per_prompt"):
            if needed not in self._takes:
                raise ValueError(f"{type(pipeline).__name__} takes no {needed}: it is not served")

    def props(self) -> dict[str, Any]:
        import diffusers
        import transformers

        torch, pipeline = self._torch, self._pipeline
        models = {n: m for n, m in pipeline.components.items() if isinstance(m, torch.nn.Module)}
        scheduler = {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")}
        return {
            "pipeline": type(pipeline).__name__,
            "scheduler": {"class": type(pipeline.scheduler).__name__, **scheduler},
            "models": {
                name: {
                    "class": type(model).__name__,
                    "dtype": str(getattr(model, "dtype", "")).removeprefix("torch."),
                    "parameters": sum(p.numel() for p in model.parameters()),
                }
                for name, model in models.items()
            },
            "safety_checker": "not loaded",
            "device": "cpu" if self._device == "cpu" else torch.cuda.get_device_name(),
            "dtype": str(pipeline.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "png_compression": PNG_LEVEL,
            "versions": {
                "diffusers": diffusers.__version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }

    def warm_up(self) -> None:
        """Two steps of the pipeline's own size, so that what cannot run is found now."""
        asked = Asked("a", 1, 0, 0, 2, None, 0)
        for _ in self.answer([self.prepare(asked)]):
            pass

    def prompt_ids(self, asked: Asked) -> list[int]:
        return [token for kept, _ in self._encoded(asked) for token in kept]

    def _encoded(self, asked: Asked) -> Iterator[tuple[list[int], int]]:
        """For each of the pipeline's tokenizers the ids that are used, and how many are not."""
        longest = self._takes.get("max_sequence_length")
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
            tokenizer = self._pipeline.components.get(name)
            if tokenizer is None:
                continue
            ids = tokenizer(asked.prompt).input_ids
            most = tokenizer.model_max_length
            if longest is not None and most > 77:  # CLIP takes 77 whatever the other may take
                most = min(most, longest.default)
            kept = tokenizer(asked.prompt, truncation=True, max_length=most).input_ids
            yield list(kept), len(ids) - len(kept)

    def prepare(self, asked: Asked) -> PictureRow:
        multiple = self._multiple()
        if asked.width % multiple or asked.height % multiple:
            raise BadRequest(f"width and height are no multiples of {multiple} pixels")
        if asked.guidance is not None and "guidance_scale" not in self._takes:
            raise BadRequest("this pipeline takes no guidance_scale")
        encoded = list(self._encoded(asked))
        ids = [token for kept, _ in encoded for token in kept]
        return PictureRow(asked, ids, sum(dropped for _, dropped in encoded))

    def _multiple(self) -> int:
        """What an image's sides are multiples of: a latent is so many pixels wide; where a
        transformer cuts latents into patches of two, twice that."""
        scale = int(getattr(self._pipeline, "vae_scale_factor", 8))
        return scale * int(getattr(self._pipeline, "patch_size", 1) or 1)

    def answer(self, rows: list[PictureRow]) -> Iterator[list[tuple[int, Picture]]]:
        (row,) = rows
        asked: Asked = row.asked
        taken = 0

        def count(_pipeline: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
            nonlocal taken
            taken += 1
            return given

        generators = [
            self._torch.Generator("cpu").manual_seed(asked.seed + k) for k in range(asked.n)
        ]
        wanted = {
            "num_inference_steps": asked.steps,
            "guidance_scale": asked.guidance,
            "width": asked.width or None,
            "height": asked.height or None,
        }
        with self._torch.inference_mode():
            made = self._pipeline(
                prompt=asked.prompt,
                num_images_per_prompt=asked.n,
                generator=generators,
                callback_on_step_end=count,
                **{name: value for name, value in wanted.items() if value is not None},
            )
        for number, image in enumerate(made.images, 1):
            row.over = number == len(made.images)
            yield [(0, Picture(_png(image), taken))]


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", compress_level=PNG_LEVEL)
    return file.getvalue()
