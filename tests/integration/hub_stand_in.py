"""A stand-in for the Hub on 127.0.0.1: the calls that huggingface_hub makes to push a folder, and no others.

Files travel by LFS as they do without `hf_xet`; the server checks hashes and keeps each commit's files.
"""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class HubStandIn(ThreadingHTTPServer):
    """Serves from construction to `close()`. `files` is the repository's content by path, `commits` their messages."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.created, self.commits, self.validated, self.unknown = [], [], [], []
        self.files, self.objects = {}, {}
        Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        hub, body = self.server, self.body()
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            hub.created.append(json.loads(body))
            name = "/".join(filter(None, (hub.created[-1].get("organization"), hub.created[-1]["name"])))
            kind = "datasets/" if hub.created[-1].get("type") == "dataset" else ""
            self.answer({"url": f"{hub.endpoint}/{kind}{name}", "name": name})
        elif path == "/api/validate-yaml":
            hub.validated.append(json.loads(body))
            self.answer({"errors": [], "warnings": []})
        elif re.fullmatch(r"/api/(?:models|datasets)/[\w.-]+/[\w.-]+/preupload/main", path):
            self.answer({"files": [self.upload_mode(file) for file in json.loads(body)["files"]]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            asked = json.loads(body)["objects"]
            actions = [{"upload": {"href": f"{hub.endpoint}/lfs/{file['oid']}"}} for file in asked]
            self.answer({"objects": [file | {"actions": a} for file, a in zip(asked, actions, strict=True)]})
        elif re.fullmatch(r"/api/(?:models|datasets)/[\w.-]+/[\w.-]+/commit/main", path):
            self.commit([json.loads(line) for line in body.splitlines()])
        else:
            hub.unknown.append(f"POST {path}")
            self.answer({"error": "not served here"}, 404)

    @staticmethod
    def upload_mode(file):
        binary = b"\0" in base64.b64decode(file["sample"])
        return {"path": file["path"], "uploadMode": "lfs" if binary else "regular", "shouldIgnore": False}

    def do_PUT(self):
        data, oid = self.body(), self.path.rpartition("/")[2]
        intact = hashlib.sha256(data).hexdigest() == oid
        if intact:
            self.server.objects[oid] = data
        self.answer({}, 200 if intact else 400)

    def commit(self, lines):
        hub = self.server
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                hub.files[value["path"]] = hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del hub.files[value["path"]]
        hub.commits.append(lines[0]["value"]["summary"])
        oid = f"{len(hub.commits):040x}"
        self.answer({"commitUrl": f"{hub.endpoint}/me/model/commit/{oid}", "commitOid": oid, "pullRequestUrl": None})

    def do_GET(self):
        if re.match(r"/api/datasets/[\w.-]+/[\w.-]+/tree/main\b", self.path):
            files = self.server.files.items()
            self.answer([{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files])
            return
        self.server.unknown.append(f"{self.command} {self.path}")
        self.answer({"error": "not served here"}, 404)

    do_HEAD = do_GET
