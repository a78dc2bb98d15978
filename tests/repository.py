"""A repository on this machine: the answers of Zenodo, Dataverse and Mendeley Data, and files that break off."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from napari_st2msi.io.public.catalogue import CATALOGUE, PublicData


class Repository:
    """What is served, how it misbehaves, and what was asked for."""

    def __init__(self, address: str, files: dict[str, bytes]) -> None:
        self.address = address
        self.files = files
        #: Bytes after which a connection breaks, one for each request to come.
        self.breaks: list[int] = []
        #: Sent instead of a file.
        self.instead: dict[str, bytes] = {}
        self.status = 200
        self.ranges = True
        #: Answer to a question about a record; None makes the proper one.
        self.answer: Any = None
        self.asked: list[tuple[str, str | None]] = []

    def data(self, name: str, **changes: Any) -> PublicData:
        """Return a data set of the catalogue as if this were its repository; checksums known beforehand are dropped."""
        return replace(CATALOGUE[name], site=self.address, **{"checksums": {}, **changes})

    def record(self, path: str) -> Any:
        """Return what the API of the repository answers."""
        if self.answer is not None:
            return self.answer
        if path.startswith("/api/records/17246900"):
            return {
                "metadata": {"license": {"id": "cc-by-4.0"}},
                "files": [
                    {
                        "key": name,
                        "size": len(content),
                        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                        "links": {"self": f"{self.address}/file/{name}"},
                    }
                    for name, content in self.files.items()
                ],
            }
        if path.startswith(
            "/api/datasets/:persistentId/versions/:latest-published?persistentId=doi:10.7910/DVN/GZFCWC"
        ):
            numbered = enumerate(self.files.items())
            listed: list[dict[str, Any]] = [
                {
                    "label": name.rpartition("/")[2],
                    **({"directoryLabel": name.rpartition("/")[0]} if "/" in name else {}),
                    "restricted": False,
                    "dataFile": {
                        "id": number,
                        "filesize": len(content),
                        "checksum": {"type": "SHA-1", "value": hashlib.sha1(content).hexdigest()},
                    },
                }
                for number, (name, content) in numbered
            ]
            listed.append({"label": "secret.h5ad", "restricted": True, "dataFile": {}})
            return {"status": "OK", "data": {"license": {"name": "CC0 1.0"}, "files": listed}}
        if path == "/public-api/datasets/w7nw4km7xd?version=1":
            return {"data_licence": {"short_name": "CC BY 4.0"}}
        if path == "/public-api/datasets/w7nw4km7xd/files?folder_id=root&version=1":
            return [
                {
                    "filename": name,
                    "content_details": {
                        "size": len(content),
                        "sha256_hash": hashlib.sha256(content).hexdigest(),
                        "download_url": f"{self.address}/file/{name}",
                    },
                }
                for name, content in self.files.items()
            ]
        return None

    def content(self, path: str) -> tuple[str, bytes] | None:
        """Return the file that an address stands for."""
        if found := re.match(r"/file/(.+)", path):
            name = found[1]
        elif found := re.match(r"/api/access/datafile/(\d+)", path):
            name = list(self.files)[int(found[1])]
        else:
            return None
        return name, self.instead.get(name, self.files[name])


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Repository]:
    """Serve files as all three repositories do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_range = self.headers.get("Range")
            repository.asked.append((self.path, asked_range))
            if "st2msi" not in self.headers.get("User-Agent", ""):
                self.send_error(403)
                return
            file = repository.content(self.path)
            if file is None:
                self._send_record()
                return
            if self.headers.get("Accept-Encoding") != "identity":
                # A server may compress on the way what it may, and bytes could not be counted then.
                self.send_error(406)
                return
            if repository.status != 200:
                self.send_error(repository.status)
                return
            content = file[1]
            start = int(asked_range[6:-1]) if asked_range and repository.ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = repository.breaks.pop(0) if repository.breaks else len(content)
            self.wfile.write(content[start : start + stop])

        def _send_record(self) -> None:
            record = repository.record(self.path)
            if record is None:
                self.send_error(404)
                return
            body = record if isinstance(record, bytes) else json.dumps(record).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    repository = Repository(f"http://127.0.0.1:{server.server_port}", files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield repository
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
