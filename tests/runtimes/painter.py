"""A runtime that makes images on the loopback image, as another package would register it: marked
as unreal, grey pictures from a request's seed.

The loopback server makes texts alone. The one here is mounted as the model's only file, under a
name that Python imports by itself when it starts, and takes its place.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.journey.conftest import loopback_image

NAME = "painter"
FILE = "sitecustomize.py"
_MODULE = """
from kit.spec.runtimes.diffusers import Diffusers

class Painter(Diffusers):
    name, title = "painter", "TEST SEAM: grey pictures from the loopback image"
    recipe, gpu_recipe, real, loads, prompt_ids = "loopback", None, False, (), None
    effective_paths = ("/props",)

    def env(self, spec):
        return {"PYTHONPATH": "/weights"}

    def problems(self, spec):
        return []

RUNTIME = Painter()
"""
_SERVER = """
import base64, http.server, json, os, signal, time, zlib

def chunk(kind, data):
    framed = kind + data
    return len(data).to_bytes(4, "big") + framed + zlib.crc32(framed).to_bytes(4, "big")

def png(width, height, shade):
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    rows = zlib.compress((b"\\0" + bytes((shade % 256,)) * width) * height)
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(chunks)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.3)
        (width, height), count = map(int, asked["size"].split("x")), asked["n"]
        made = [png(width, height, asked["seed"] + number) for number in range(count)]
        usage = {"images": count, "steps": count * asked["num_inference_steps"]}
        data = [{"b64_json": base64.b64encode(image).decode()} for image in made]
        self.answer({"data": data, "usage": usage})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def install(folder: Path) -> Path:
    """Put the package into ``folder``, which is then for ``PYTHONPATH``."""
    about = folder / "painter-1.dist-info"
    about.mkdir(parents=True)
    (folder / "painter.py").write_text(_MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: painter\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[kit.runtimes]\n{NAME} = painter:RUNTIME\n")
    return folder


def keep_server(folder: Path) -> None:
    """Put the server into a folder of models."""
    folder.mkdir()
    (folder / FILE).write_text(_SERVER)


def spec(requests: int) -> dict[str, Any]:
    """A run of ``requests`` measured requests for two images each, a third of a second long."""
    content = _SERVER.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    file = {"path": FILE, "source": f"file:{FILE}", "sha256": sha256, "size": len(content)}
    size = {"images": 2, "width": 16, "height": 8, "steps": 4}
    return {
        "schema": "kit.run-spec/1",
        "name": "painted",
        "runtime": {"name": NAME},
        "image": loopback_image(),
        "weights": {"repo": "painter", "revision": "1", "files": [file]},
        "workload": {"name": "images", "options": {"requests": requests, **size}},
        "phases": {"idle_s": 0.3, "loaded_idle_s": 0.3, "warmup_requests": 1},
        "meters": [{"name": "estimate"}],
        "launches": 1,
        "limits": {"ready_s": 20, "request_s": 5, "run_s": 120, "memory_mib": 256},
    }
