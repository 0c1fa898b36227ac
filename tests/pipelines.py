"""A pipeline's folder as Diffusers saves it, with few bytes in place of weights."""

from __future__ import annotations

import json
from typing import Any

INDEX = "model_index.json"
PARTS: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def pipeline(**parts: Any) -> dict[str, bytes]:
    """Files by path; ``parts`` change the index."""
    index = {name: made for name, made in {**PARTS, **parts}.items() if made is not None}
    return {
        INDEX: json.dumps(index).encode(),
        "README.md": b"---\nlicense: openrail\n---\n",
        "sd.safetensors": b"the whole of it in one file",
        "scheduler/scheduler_config.json": b"{}",
        "safety_checker/config.json": b"{}",
        "safety_checker/model.safetensors": b"checker",
        "text_encoder/config.json": b'{"of": "text"}',
        "text_encoder/model.safetensors": b"text",
        "text_encoder/model.fp16.safetensors": b"te",
        "text_encoder/pytorch_model.bin": b"text",
        "tokenizer/merges.txt": b"#",
        "tokenizer/vocab.json": b"{}",
        "unet/config.json": b'{"of": "unet"}',
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors": b"un",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors": b"et",
        "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
    }


# What of it makes the model.
USED = [
    INDEX,
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
]
