"""A Hugging Face hub on loopback, as far as fetching a model goes: listing, HEAD and GET of files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34


@contextmanager
def serve_hub(repositories: Mapping[str, Path], gated: frozenset[str] = frozenset()) -> Iterator[str]:
    """Serve each folder as a repository; those named in ``gated`` are refused. Gives the endpoint's URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
            parts = parts[1:] if parts[0] == "api" else parts
            parts = parts[1:] if parts[0] in ("models", "datasets") else parts
            name, rest = "/".join(parts[:2]), parts[2:]
            if name in gated:
                return self.send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
            if name not in repositories:
                return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
            folder = repositories[name]
            if rest[:1] != ["resolve"]:
                files = sorted(folder.iterdir())
                tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0"} for f in files]
                siblings = [{"rfilename": file.name} for file in files]
                about = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
                listing = json.dumps(tree if rest[:1] == ["tree"] else about).encode()
                return self.send(200, listing, body, {"Content-Type": "application/json"})
            if not (folder / rest[-1]).is_file():
                return self.send(404, b"{}", body, {"X-Error-Code": "EntryNotFound"})
            content = (folder / rest[-1]).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            return self.send(200, content, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

        def send(self, status: int, content: bytes, body: bool, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
