"""A small archive on loopback: two indices and several data nodes that serve a folder and misbehave when told to.

`python tests/esgf/archive.py --root FOLDER` serves FOLDER/CMIP6/... by hand and prints what to put into a configuration.
"""

import argparse
import base64
import functools
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

NODES = ("esgf-data.ucar.edu", "esgf.ceda.ac.uk", "esgf3.dkrz.de")
# Each index knows two of the three nodes, and not every replica is in both.
KNOWN = {"globus": NODES[:2], "solr": NODES[1:]}
FACETS = (
    "mip_era",
    "activity_id",
    "institution_id",
    "source_id",
    "experiment_id",
    "variant_label",
    "table_id",
    "variable_id",
    "grid_label",
)
HTML = (
    b"<!DOCTYPE html><html><head><title>Node</title></head><body>" + b"<p>Please log in.</p>" * 400 + b"</body></html>"
)
PIECE = 1 << 14
LONGEST_STALL = 60.0


@dataclass
class Fault:
    """One kind of misbehaviour, at a node or a file or everywhere, a number of times or for ever.

    Kinds of a file: 404, 416, 429, 503, html, html_as_netcdf, cut, cut_unannounced, reset, corrupt, no_range,
    wrong_range, wrong_size, slow, stall, stall_midway, redirect, no_length. Kinds of an index (`name` is globus or solr): 404, 503,
    html, hang_up, stall, broken_json, error.
    """

    kind: str
    name: str = ""
    """Part of the file's name."""
    node: str | None = None
    """Data node; None is any, `first` is the one that is asked first."""
    times: int | None = None
    """How often; None is always."""
    at: float = 0.5
    """How much is sent before it breaks off, or where a byte is wrong: share of the file."""
    rate: float = 100e3
    """Bytes a second of slow."""
    retry_after: float | None = None
    """Header of 429 and 503, seconds."""
    seen: int = 0
    """How often it has struck."""


@dataclass
class Request:
    """What was asked, and what was answered."""

    method: str
    path: str
    asked_range: str | None
    body: str = ""
    status: int = 0
    sent: int = 0
    when: float = field(default_factory=time.monotonic)

    @property
    def node(self) -> str | None:
        return self.path.split("/")[2] if self.path.startswith("/node/") else None

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def start(self) -> int:
        """First byte that was asked for."""
        return int(re.match(r"bytes=(\d+)-", self.asked_range)[1]) if self.asked_range else 0


class Archive:
    """Indices and data nodes over one folder, which holds CMIP6/.../vYYYYMMDD/*.nc; stopped at the end of `with`."""

    def __init__(self, root: Path, nodes: tuple[str, ...] = NODES, port: int = 0, page: int = 3):
        self.root, self.nodes, self.page = Path(root), nodes, page
        self.known = {index: [node for node in nodes if node in known] for index, known in KNOWN.items()}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.retracted: set[str] = set()
        self._statements: list[tuple[dict[str, str | None], dict[str, Any] | None]] = []
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.archive = self
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.globus = f"{self.address}/v1/index/catalog"
        self.solr = f"{self.address}/esg-search/search"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, kind: str, name: str = "", **options: Any) -> Fault:
        """Misbehave from now on; see `Fault` for the kinds and options."""
        self.faults.append(Fault(kind, name, **options))
        return self.faults[-1]

    def state(self, fields: dict[str, Any] | None = None, **which: str | None) -> None:
        """Let records state other values than the true ones; a value of None leaves the field out.

        `which` chooses the records: `record` (File or Dataset), part of the `name`, `node`, `version`, `index`.
        """
        self._statements.append(({"record": "File", **which}, fields or {}))

    def hide(self, **which: str | None) -> None:
        """Leave records out of the indices; see `state` for the choice."""
        self._statements.append(({"record": "File", **which}, None))

    def heal(self) -> None:
        """Forget all faults, statements and retractions, and what was asked."""
        for stored in (self.faults, self.log, self._statements, self.retracted):
            stored.clear()

    def asked(self, name: str = "", node: str | None = None) -> list[Request]:
        """Return the requests for files, in order."""
        with self.lock:
            return [r for r in self.log if r.node and name in r.name and node in (None, r.node) and r.method == "GET"]

    def asked_indices(self) -> list[Request]:
        """Return the requests to the indices, in order."""
        with self.lock:
            return [request for request in self.log if not request.node]

    def path(self, name: str, version: str = "") -> Path:
        """Return the one true file that has this part of a name."""
        (path,) = (p for p in self.root.rglob("*.nc") if name in p.name and version in p.parent.name)
        return path

    def records(self, index: str) -> list[dict[str, Any]]:
        """Return what an index holds: a record for each data set and each file at each node that it knows."""
        folders = sorted({path.parent for path in self.root.rglob("*.nc")})
        records = [
            record
            for folder in folders
            for node in self.known[index]
            for record in self._describe_folder(folder, node, folder == newest(folder, folders))
        ]
        return [stated for record in records if (stated := self._apply_statements(record, index)) is not None]

    def _describe_folder(self, folder: Path, node: str, latest: bool) -> Iterator[dict[str, Any]]:
        parts = folder.relative_to(self.root).parts
        dataset, version = ".".join(parts[:-1]), parts[-1]
        files = sorted(folder.glob("*.nc"))
        retracted = version in self.retracted
        shared = {
            **{facet: [value] for facet, value in zip(FACETS, parts, strict=False)},
            "project": ["CMIP6"],
            "data_node": node,
            "index_node": node,
            "replica": node != self.nodes[0],
            # No older version becomes the latest when the newest is retracted.
            "latest": latest and not retracted,
            "retracted": retracted,
        }
        yield shared | {
            "type": "Dataset",
            "id": f"{dataset}.{version}|{node}",
            "instance_id": f"{dataset}.{version}",
            "master_id": dataset,
            "title": f"{dataset}.{version}",
            "version": version.removeprefix("v"),
            "number_of_files": len(files),
            "size": sum(path.stat().st_size for path in files),
        }
        for path in files:
            address = f"{self.address}/node/{node}"
            place = path.relative_to(self.root).as_posix()
            yield shared | {
                "type": "File",
                "id": f"{dataset}.{version}.{path.name}|{node}",
                "dataset_id": f"{dataset}.{version}|{node}",
                "title": path.name,
                "size": path.stat().st_size,
                "checksum": [sha256(path)],
                "checksum_type": ["SHA256"],
                "tracking_id": [f"hdl:21.14100/{sha256(path)[:8]}-0000-4000-8000-{sha256(path)[8:20]}"],
                "version": "1",
                "url": [
                    f"{address}/{place}|application/netcdf|HTTPServer",
                    f"{address}/dodsC/{place}.html|application/opendap-html|OPENDAP",
                ],
            }

    def _apply_statements(self, record: dict[str, Any], index: str) -> dict[str, Any] | None:
        version = str(record.get("dataset_id", record["id"])).split("|")[0].rsplit(".", 1)[1]
        facts = {"record": record["type"], "node": record["data_node"], "version": version, "index": index}
        name = record["title"]
        for which, fields in self._statements:
            meant = which.get("name", "") in name and all(
                facts.get(key, value) == value for key, value in which.items()
            )
            if meant and fields is None:
                return None
            if meant:
                record = {key: value for key, value in (record | fields).items() if value is not None}
        return record

    def choose_fault(self, name: str, node: str | None = None) -> Fault | None:
        """Return the fault that strikes a file at a node, or an index, now, and count it."""
        with self.lock:
            for fault in self.faults:
                meant = fault.name in name if node else fault.name == name
                if not meant or (fault.times is not None and fault.seen >= fault.times):
                    continue
                if fault.node == "first":
                    fault.node = node
                if fault.node in (None, node):
                    fault.seen += 1
                    return fault
        return None


def newest(folder: Path, folders: list[Path]) -> Path:
    """Return the folder of a data set's newest version."""
    return max((other for other in folders if other.parent == folder.parent), key=lambda f: int(f.name[1:]))


@functools.cache
def _hash(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256(path: Path) -> str:
    """Return a file's SHA-256, computed once."""
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


def find_dead_address() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def write_as_globus(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as Globus Search may hold it: the same field is now a value, now a list, now a string."""
    kind = zlib.crc32(record["id"].encode()) % 3
    varied = dict(record)
    for key in ("size", "number_of_files"):
        if key in record:
            varied[key] = (record[key], str(record[key]), [record[key]])[kind]
    for key in ("checksum", "checksum_type", "tracking_id"):
        if key in record and kind == 1:
            varied[key] = record[key][0]
    for key in ("latest", "retracted", "replica"):
        varied[key] = (record[key], str(record[key]).lower(), [record[key]])[kind]
    if kind == 2:
        varied |= {key: [record[key]] for key in ("title", "data_node", "version")}
    return varied


def _values(value: Any) -> set[str]:
    return {str(one).lower() for one in (value if isinstance(value, list) else [value])}


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 64
    archive: Archive

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that keeps its connection open does not hold a thread for ever.
    timeout = LONGEST_STALL
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _serve(self, body: str = "") -> None:
        self.archive = self.server.archive
        self.request_log = Request(self.command, self.path, self.headers.get("Range"), body)
        with self.archive.lock:
            self.archive.log.append(self.request_log)
        address = urlsplit(self.path)
        if address.path.startswith("/node/"):
            self._serve_file(address.path)
        elif self.path.startswith("/v1/index/") and address.path.endswith("/scroll") and self.command == "POST":
            self._serve_index("globus", lambda: self._search_globus(json.loads(body)))
        elif address.path == "/esg-search/search" and self.command == "GET":
            self._serve_index("solr", lambda: self._search_solr(parse_qs(address.query)))
        else:
            self._answer(404, b"no such place", "text/plain")

    # --- The indices ---

    def _serve_index(self, index: str, search: Any) -> None:
        fault = self.archive.choose_fault(index)
        match fault.kind if fault else "none":
            case "none":
                self._answer(*search())
            case "404" | "503" as status:
                self._answer(int(status), HTML, "text/html", self._retry_after(fault))
            case "html":
                self._answer(200, HTML, "text/html")
            case "broken_json":
                self._answer(200, search()[1][:-40], "application/json")
            case "error":
                self._answer(200, b'{"error": "index is being rebuilt"}', "application/json")
            case "hang_up":
                self._reset()
            case "stall":
                self._stall()
            case other:
                raise ValueError(other)

    def _search_globus(self, query: dict[str, Any]) -> tuple[int, bytes, str]:
        found = self.archive.records("globus")
        for wanted in query.get("filters", []):
            if wanted["type"] != "match_any":
                return 400, b'{"error": "only match_any here"}', "application/json"
            values = _values(wanted["values"])
            found = [r for r in found if _values(r.get(wanted["field_name"], [])) & values]
        start = int(base64.b64decode(query["marker"])) if query.get("marker") else 0
        page = found[start : start + min(int(query.get("limit", 10)), self.archive.page)]
        end = start + len(page)
        answer = {
            "gmeta": [
                {"subject": r["id"], "entries": [{"entry_id": r["type"].lower(), "content": write_as_globus(r)}]}
                for r in page
            ],
            "count": len(page),
            "total": len(found),
            "has_next_page": end < len(found),
            "marker": base64.b64encode(str(end).encode()).decode(),
        }
        return 200, json.dumps(answer).encode(), "application/json"

    def _search_solr(self, query: dict[str, list[str]]) -> tuple[int, bytes, str]:
        query = {key: [one for value in values for one in value.split(",")] for key, values in query.items()}
        if query.pop("format", [""])[0] != "application/solr+json":
            return 200, b'<?xml version="1.0" encoding="UTF-8"?><response/>', "text/xml"
        offset, limit = (int(query.pop(key, [default])[0]) for key, default in (("offset", "0"), ("limit", "10")))
        for key in ("distrib", "fields", "query"):
            query.pop(key, None)
        kind = query.pop("type", ["Dataset"])
        found = [r for r in self.archive.records("solr") if r["type"] in kind]
        for key, wanted in query.items():
            if key not in found[0] if found else False:
                return 400, f"HTTP Status 400 - Invalid query parameter: {key}".encode(), "text/html"
            found = [r for r in found if _values(r.get(key, [])) & _values(wanted)]
        docs = found[offset : offset + min(limit, self.archive.page)]
        answer = {"responseHeader": {"status": 0}, "response": {"numFound": len(found), "start": offset, "docs": docs}}
        return 200, json.dumps(answer).encode(), "application/json"

    # --- The files ---

    def _serve_file(self, place: str) -> None:
        _, _, node, inner = place.split("/", 3)
        path = self.archive.root / inner
        if not path.is_file() or node not in self.archive.nodes:
            return self._answer(404, b"not here", "text/plain")
        whole = path.read_bytes()
        fault = self.archive.choose_fault(path.name, node) if self.command == "GET" else None
        kind, cut = (fault.kind, int(fault.at * len(whole))) if fault else ("none", 0)
        start = self.request_log.start
        match kind:
            case "404" | "416" | "429" | "503" as status:
                return self._answer(int(status), HTML, "text/html", self._retry_after(fault))
            case "html" | "html_as_netcdf":
                return self._answer(200, HTML, "text/html" if kind == "html" else "application/x-netcdf")
            case "stall":
                return self._stall()
            case "redirect":
                return self._answer(302, b"", "text/plain", {"Location": f"{self.archive.address}{place}"})
            case "corrupt":
                whole = whole[:cut] + bytes([whole[cut] ^ 0xFF]) + whole[cut + 1 :]
            case "wrong_size":
                whole += b"\0" * 100
            case "no_range":
                start = 0
            case "wrong_range":
                start = max(start - 1000, 0)
        if start >= len(whole):
            return self._answer(416, b"", "text/plain", {"Content-Range": f"bytes */{len(whole)}"})
        asked = bool(self.request_log.asked_range) and kind != "no_range"
        self._head(206 if asked else 200, "application/x-netcdf")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        if kind in ("cut_unannounced", "no_length"):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(whole) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return None
        broken = kind in ("cut", "cut_unannounced", "reset", "stall_midway")
        # A fault that strikes again lets as much through again.
        end = min(start + cut, len(whole) - 1) if broken else len(whole)
        self._send(whole[start:end], fault.rate if kind == "slow" else None)
        if kind == "reset":
            self._reset()
        if kind == "stall_midway":
            self._stall()
        self.close_connection |= broken or kind == "no_length"
        return None

    # --- Answers ---

    def _retry_after(self, fault: Fault) -> dict[str, str]:
        return {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}

    def _head(self, status: int, content_type: str) -> None:
        self.request_log.status = status
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("Content-Type", content_type)

    def _answer(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        self._head(status, content_type)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(body)

    def _send(self, body: bytes, rate: float | None = None) -> None:
        piece = PIECE if rate is None else max(int(rate / 50), 1)
        for start in range(0, len(body), piece):
            self.wfile.write(body[start : start + piece])
            self.request_log.sent += len(body[start : start + piece])
            if rate is not None and self.archive.stopped.wait(piece / rate):
                return

    def _reset(self) -> None:
        # Time for what was sent to arrive: a reset throws away what still waits here.
        self.archive.stopped.wait(0.05)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def _stall(self) -> None:
        self.archive.stopped.wait(LONGEST_STALL)
        self.close_connection = True


def main() -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a folder as a small archive with two indices.")
    parser.add_argument("--root", type=Path, required=True, help="folder that holds CMIP6/.../vYYYYMMDD/*.nc")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--page", type=int, default=100, help="most records in one answer of an index")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND[:NAME[:NODE[:TIMES]]]", help="misbehave; see Fault"
    )
    options = parser.parse_args()
    with Archive(options.root, port=options.port, page=options.page) as archive:
        for text in options.fault:
            kind, name, node, times = (text.split(":") + [""] * 3)[:4]
            archive.fault(kind, name, node=node or None, times=int(times) if times else None)
        print(f"globus_indices: [{archive.globus}]\nsolr_indices: [{archive.solr}]", flush=True)
        shown = 0
        while True:
            time.sleep(0.2)
            for request in archive.log[shown:]:
                print(request.method, request.path, request.asked_range or "", request.status or "...", flush=True)
                shown += 1


if __name__ == "__main__":
    main()
