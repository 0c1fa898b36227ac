"""The dialect of Ollama's API that kit uses, spoken by the test seam: not Ollama.

Written from Ollama's public documentation. ``server.py serve`` speaks it, and listens where the
variable OLLAMA_HOST says; blobs go to the folder that OLLAMA_MODELS names, as Ollama's do. No model is
loaded: a file is hashed, kept and named. Answers on `/api/version`, `/api/blobs/sha256:…`,
`/api/create`, `/api/generate` (load and unload alone), `/api/ps` and `/api/tags`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import unquote

VERSION = "0.0.0-loopback"
FOREVER = "2318-01-01T00:00:00Z"


class Store:
    """Blobs on disk, models by name, and the one that is loaded."""

    def __init__(self, folder: str) -> None:
        self.blobs = Path(folder) / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.models: dict[str, dict] = {}
        self.loaded: dict[str, dict] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict] | None:
        """Status and document; None for a path that is none of Ollama's own API."""
        if not path.startswith("/api/"):
            return None
        if path.startswith("/api/blobs/") and method == "POST":
            return self.keep(unquote(path.removeprefix("/api/blobs/")), body)
        known = {
            ("GET", "/api/version"): lambda _: (200, {"version": VERSION}),
            ("GET", "/api/tags"): lambda _: (200, {"models": list(self.models.values())}),
            ("GET", "/api/ps"): lambda _: (200, {"models": list(self.loaded.values())}),
            ("POST", "/api/create"): self.create,
            ("POST", "/api/generate"): self.generate,
        }
        act = known.get((method, path))
        return act(json.loads(body or b"{}")) if act else (404, {"error": f"no such path: {path}"})

    def keep(self, digest: str, data: bytes) -> tuple[int, dict]:
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != digest:
            return 400, {"error": f"digest mismatch, expected {digest!r}, got {found!r}"}
        (self.blobs / digest.replace(":", "-")).write_bytes(data)
        print(f"loopback: kept a blob of {len(data)} bytes", flush=True)
        return 201, {}

    def create(self, asked: dict) -> tuple[int, dict]:
        for name, digest in asked["files"].items():
            blob = self.blobs / digest.replace(":", "-")
            if not blob.is_file():
                return 400, {"error": f"there is no blob {digest} for {name}"}
            if blob.read_bytes()[:4] != b"GGUF":
                return 400, {"error": "unsupported format"}
        text = json.dumps(asked, sort_keys=True).encode()
        made = {"name": f"{asked['model']}:latest", "digest": hashlib.sha256(text).hexdigest()}
        self.models[asked["model"]] = {**made, "parameters": asked.get("parameters", {})}
        return 200, {"status": "success"}

    def generate(self, asked: dict) -> tuple[int, dict]:
        """Without a prompt: load the model; with a keep-alive of 0, unload it."""
        name = asked["model"]
        if name not in self.models:
            return 404, {"error": f"model {name!r} not found"}
        if asked.get("prompt"):
            return 400, {"error": "the test seam answers prompts on /v1 alone"}
        if asked.get("keep_alive") == 0:
            self.loaded.pop(name, None)
            print("loopback: unloaded", flush=True)
            return 200, {"model": name, "response": "", "done": True, "done_reason": "unload"}
        context = int(os.environ.get("OLLAMA_CONTEXT_LENGTH", "4096"))
        running = {"size_vram": 0, "context_length": context, "expires_at": FOREVER}
        self.loaded[name] = {**self.models[name], **running}
        print("loopback: llama runner started in 0.01 seconds", flush=True)
        return 200, {"model": name, "response": "", "done": True, "done_reason": "load"}
