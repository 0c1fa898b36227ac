"""A real HTTP server that speaks the hub's API, **written from its documentation**.

The hub itself was not reached by kit's makers. What a repository holds is given as bytes by name;
``answer`` may change what the API says, ``serve`` what a file's place gives.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

LARGE = (".safetensors", ".gguf", "tokenizer.json")
Repo = dict[str, bytes]
Reply = tuple[int, dict[str, str], bytes]
CARD = {"license": "apache-2.0"}


def commit_of(repo: str) -> str:
    return hashlib.sha1(repo.encode(), usedforsecurity=False).hexdigest()


def listing_of(name: str, files: Repo) -> dict[str, Any]:
    """The answer to ``GET /api/models/REPO/revision/main?blobs=true``, as it is documented."""
    siblings = []
    for path, data in files.items():
        entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": "0" * 40}
        if path.endswith(LARGE):
            sha256 = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 135}
        siblings.append(entry)
    sha, tags = commit_of(name), ["license:apache-2.0", "region:us"]
    return {"id": name, "sha": sha, "tags": tags, "cardData": CARD, "siblings": siblings}


class Hub(NamedTuple):
    url: str
    asked: list[str]
    tokens: list[str | None]


@contextmanager
def running(
    repos: dict[str, Repo],
    answer: Callable[[dict[str, Any]], Any] = lambda document: document,
    serve: Callable[[str, bytes], Reply] = lambda _, data: (200, {}, data),
) -> Iterator[Hub]:
    """The server, on this machine. What ``answer`` gives is sent as JSON, or a reply as it is."""
    asked: list[str] = []
    tokens: list[str | None] = []

    def reply(path: str) -> Reply:
        for name, files in repos.items():
            if path.startswith(f"/api/models/{name}/revision/") and path.endswith("?blobs=true"):
                document = answer(listing_of(name, files))
                if isinstance(document, tuple):
                    return document
                return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
            place = f"/{name}/resolve/{commit_of(name)}/"
            if path.startswith(place) and (file := unquote(path[len(place) :])) in files:
                return serve(file, files[file])
        return 404, {}, b'{"error":"Entry not found"}'

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            tokens.append(self.headers.get("Authorization"))
            status, headers, body = reply(self.path)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hub(f"http://127.0.0.1:{server.server_address[1]}", asked, tokens)
        server.shutdown()
