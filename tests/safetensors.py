"""Files in the format of safetensors, of as many shards as are asked for: written by hand."""

from __future__ import annotations

import json
import struct

INDEX = "model.safetensors.index.json"


def file(tensors: dict[str, list[float]]) -> bytes:
    """Eight bytes with the header's length, the header as JSON, then the numbers in float32."""
    header, data = {}, b""
    for name, numbers in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(numbers)}f", *numbers)
        place = [begin, len(data)]
        header[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": place}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def sharded(count: int) -> dict[str, bytes]:
    """A model's tensors in ``count`` files, and their index."""
    files, where = {}, {}
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        files[name] = file({f"layer.{number}": [float(number)] * 8})
        where[f"layer.{number}"] = name
    index = {"metadata": {"total_size": 32 * count}, "weight_map": where}
    return {**files, INDEX: json.dumps(index).encode()}


def model(shards: int = 1) -> dict[str, bytes]:
    """The files of a small model's folder, as a hub's repository has them."""
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2}
    config |= {"hidden_size": 8, "max_position_embeddings": 2048}
    tensors = sharded(shards) if shards > 1 else {"model.safetensors": file({"layer.1": [1.0] * 8})}
    return {
        ".gitattributes": b"*.safetensors filter=lfs",
        "README.md": b"---\nlicense: apache-2.0\n---\n# A model",
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b'{"do_sample": false}',
        "original/params.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"model_max_length": 2048}',
        **tensors,
    }


def split(data: bytes, count: int) -> dict[str, bytes]:
    """The tensors of one file in ``count`` files of about the same number, and their index."""
    length = struct.unpack_from("<Q", data)[0]
    header, begin = json.loads(data[8 : 8 + length]), 8 + length
    header.pop("__metadata__", None)
    names, files, where = sorted(header), {}, {}
    for number in range(1, count + 1):
        file, own, body = f"model-{number:05}-of-{count:05}.safetensors", {}, bytearray()
        for name in names[number - 1 :: count]:
            first, last = header[name]["data_offsets"]
            place = [len(body), len(body) + last - first]
            body += data[begin + first : begin + last]
            own[name] = {**header[name], "data_offsets": place}
            where[name] = file
        text = json.dumps({"__metadata__": {"format": "pt"}, **own}).encode()
        files[file] = struct.pack("<Q", len(text)) + text + bytes(body)
    index = {"metadata": {"total_size": len(data) - begin}, "weight_map": where}
    return {**files, INDEX: json.dumps(index).encode()}
