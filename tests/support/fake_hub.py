"""
A small Hugging Face Hub on loopback, so that tests load, push and reload by Hub id without any network.

It speaks as much of the protocol as `huggingface_hub` 2.x needs for model repos: repo info, refs, tree, paths-info, `resolve` (HEAD and
GET, redirects of large files, ranges, commit and error headers), create_repo, branches, preupload, LFS upload and commits. It can also
misbehave on request: cut a download off in the middle, refuse an upload, or answer anything with an error (gated, private, too many
requests, out of order).

Everything is kept in memory. Each commit is a complete listing `path -> content hash`, like git's trees.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


WRITE_TOKEN = "hf_fakeHubMayWrite"
READ_TOKEN = "hf_fakeHubMayOnlyRead"

_LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".png", ".flac", ".wav")


class Request(NamedTuple):
    """One request that the hub received."""

    method: str
    path: str
    """Path without the query."""
    num_body_bytes: int


@dataclass
class Repo:
    """One model repo: contents, commits (complete listings) and the branches and tags that point to them."""

    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        """Commit hash of a branch, a tag or a full commit hash; `None` when there is none."""
        if revision in self.branches:
            return self.branches[revision]
        if revision in self.tags:
            return self.tags[revision]
        return revision if revision in self.commits else None


@dataclass
class _CutOff:
    suffix: str
    after_bytes: int
    times: int


@dataclass
class _UploadFailure:
    status: int
    message: str


class HubError(Exception):
    """What the hub answers instead of content."""

    def __init__(self, status: int, code: str | None, message: str, commit: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.commit = commit


@dataclass
class _Refusal:
    error: HubError
    paths: str


class FakeHub:
    """
    The hub: state, and the server thread that serves it at `endpoint`.

    Attributes:
        endpoint (`str`): what `HF_ENDPOINT` must be, `http://127.0.0.1:<port>`.
        requests (`list[Request]`): what was asked, in order.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        # Another host name, as the real Hub's content delivery network has: clients follow redirects within the Hub on their own.
        self.cdn_endpoint = f"http://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-hub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def clear(self) -> None:
        """Forget every repo, request and planned fault."""
        with self.lock:
            self.repos: dict[str, Repo] = {}
            self.blobs: dict[str, bytes] = {}
            self.requests: list[Request] = []
            self._cut_offs: list[_CutOff] = []
            self._upload_failure: _UploadFailure | None = None
            self._refusals: list[_Refusal] = []

    # What tests do with it

    def add_folder(self, repo_id: str, folder: str | Path, revision: str = "main") -> str:
        """Publish the files of `folder` as the new head of `revision` (a branch). Returns the commit hash."""
        folder = Path(folder)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self.add_files(repo_id, files, revision)

    def add_files(self, repo_id: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Publish `files` (path -> content), and nothing else, as the new head of `revision`. Returns the commit hash."""
        with self.lock:
            repo = self.repos.setdefault(repo_id, Repo(branches={}))
            return self._commit(repo, {path: self.store(content) for path, content in files.items()}, revision)

    def create_repo(self, repo_id: str) -> None:
        """An empty repo with one commit on `main`, as the real Hub makes it."""
        self.add_files(repo_id, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Path -> content at a revision."""
        with self.lock:
            repo = self.repos[repo_id]
            commit = repo.resolve(revision)
            assert commit is not None, f"{repo_id} has no revision {revision}"
            return {path: self.blobs[digest] for path, digest in repo.commits[commit].items()}

    def cut_off_downloads(self, suffix: str, after_bytes: int, times: int = 1) -> None:
        """The next `times` downloads of files whose path ends with `suffix` break after `after_bytes` bytes."""
        with self.lock:
            self._cut_offs.append(_CutOff(suffix, after_bytes, times))

    def fail_uploads(self, status: int, message: str) -> None:
        """Answer the upload of every large file with this HTTP status, until `accept_uploads` or `clear`."""
        with self.lock:
            self._upload_failure = _UploadFailure(status, message)

    def accept_uploads(self) -> None:
        """Undo `fail_uploads`."""
        with self.lock:
            self._upload_failure = None

    def refuse(self, status: int, code: str | None = None, message: str = "No.", paths: str = "") -> None:
        """Answer every request with this status, until `accept` or `clear`.

        Args:
            code: `X-Error-Code`, as the real Hub sends it: `"GatedRepo"`, `"RepoNotFound"`.
            paths: a regular expression; only requests whose path matches it.
        """
        with self.lock:
            self._refusals.append(_Refusal(HubError(status, code, message), paths))

    def accept(self) -> None:
        """Undo `refuse`."""
        with self.lock:
            self._refusals.clear()

    def refusal(self, path: str) -> HubError | None:
        with self.lock:
            return next((refusal.error for refusal in self._refusals if re.search(refusal.paths, path)), None)

    def requested(self, method: str, pattern: str) -> list[Request]:
        """The recorded requests of a method whose path matches a regular expression."""
        with self.lock:
            return [r for r in self.requests if r.method == method and re.search(pattern, r.path)]

    # What the handler needs

    def store(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def take_cut_off(self, path: str) -> int | None:
        with self.lock:
            for cut in self._cut_offs:
                if cut.times > 0 and path.endswith(cut.suffix):
                    cut.times -= 1
                    return cut.after_bytes
        return None

    @property
    def upload_failure(self) -> _UploadFailure | None:
        return self._upload_failure

    def find(self, repo_id: str, revision: str) -> tuple[Repo, str]:
        repo = self.repos.get(repo_id)
        if repo is None:
            raise HubError(404, "RepoNotFound", "Repository not found")
        commit = repo.resolve(revision)
        if commit is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def _commit(self, repo: Repo, tree: dict[str, str], revision: str) -> str:
        parent = repo.branches.get(revision, "")
        description = json.dumps([parent, sorted(tree.items()), len(repo.commits)])
        commit = hashlib.sha1(description.encode()).hexdigest()
        repo.commits[commit] = tree
        repo.branches[revision] = commit
        return commit


def _is_lfs(path: str) -> bool:
    return path.endswith(_LFS_SUFFIXES)


def _git_blob_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _oid(path: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if _is_lfs(path) else _git_blob_hash(content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; without this, Nagle's algorithm holds the second back for 40 ms.
    disable_nagle_algorithm = True

    _ROUTES = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/models/(?P<repo>.+?)/revision/(?P<revision>[^/]+)", "repo_info"),
        ("GET", r"/api/models/(?P<repo>.+?)/tree/(?P<revision>[^/]+)(?P<path>/.*)?", "tree"),
        ("GET", r"/api/models/(?P<repo>.+?)/refs", "refs"),
        ("POST", r"/api/models/(?P<repo>.+?)/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("POST", r"/api/models/(?P<repo>.+?)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<repo>.+?)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/api/models/(?P<repo>.+?)/branch/(?P<revision>[^/]+)", "create_branch"),
        ("POST", r"/api/models/(?P<repo>.+?)/tag/(?P<revision>[^/]+)", "create_tag"),
        ("GET", r"/api/models/(?P<repo>[^/]+(/[^/]+)?)", "repo_info"),
        ("POST", r"/(?P<repo>.+?)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs-upload/(?P<digest>[0-9a-f]{64})", "lfs_upload"),
        ("POST", r"/lfs-verify", "lfs_verify"),
        ("GET", r"/cdn/(?P<digest>[0-9a-f]{64})/(?P<path>.+)", "cdn"),
        ("GET", r"/(?P<repo>[^/]+(/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    )

    @property
    def hub(self) -> FakeHub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *args: Any) -> None:
        """Silence: what was asked is in `FakeHub.requests`."""

    def do_GET(self) -> None:
        self._dispatch()

    do_HEAD = do_POST = do_PUT = do_GET

    def _dispatch(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self._read_body()
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, unquote(url.path), len(self.body)))
        if (refusal := self.hub.refusal(unquote(url.path))) is not None:
            self._send_error(refusal)
            return
        method = "GET" if self.command == "HEAD" else self.command
        for route_method, pattern, name in self._ROUTES:
            match = re.fullmatch(pattern, url.path)
            if route_method == method and match is not None:
                arguments = {key: unquote(value or "") for key, value in match.groupdict().items()}
                try:
                    getattr(self, f"_{name}")(**arguments)
                except HubError as error:
                    self._send_error(error)
                return
        self._send_error(HubError(404, None, f"The fake hub has no route for {self.command} {url.path}"))

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._read_chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    # Answers

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_json(self, answer: Any, status: int = 200) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send_error(self, error: HubError) -> None:
        headers = {"Content-Type": "application/json", "X-Error-Message": error.message}
        if error.code is not None:
            headers["X-Error-Code"] = error.code
        if error.commit is not None:
            headers["X-Repo-Commit"] = error.commit
        self._send(error.status, json.dumps({"error": error.message}).encode(), headers)

    # Who asks

    def _require_write_permission(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == WRITE_TOKEN:
            return
        if token == READ_TOKEN:
            raise HubError(403, None, "You don't have the rights to write to this namespace")
        raise HubError(401, None, "Invalid credentials in Authorization header" if token else "Unauthorized")

    def _whoami(self) -> None:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in (WRITE_TOKEN, READ_TOKEN):
            raise HubError(401, None, "Invalid credentials in Authorization header")
        self._send_json(
            {"type": "user", "name": "tester", "fullname": "Tester", "orgs": [{"name": "org"}], "auth": {}}
        )

    # Repos

    def _create_repo(self) -> None:
        self._require_write_permission()
        request = json.loads(self.body)
        repo_id = f"{request.get('organization') or 'tester'}/{request['name']}"
        with self.hub.lock:
            exists = repo_id in self.hub.repos
            if not exists:
                self.hub.create_repo(repo_id)
        url = f"{self.hub.endpoint}/{repo_id}"
        if exists:
            self._send_json({"error": "You already created this model repo", "url": url}, status=409)
        else:
            self._send_json({"url": url, "name": repo_id, "id": repo_id})

    def _repo_info(self, repo: str, revision: str = "main") -> None:
        found, commit = self.hub.find(repo, revision)
        tree = found.commits[commit]
        card = self._card_data(tree)
        self._send_json(
            {
                "_id": "0" * 24,
                "id": repo,
                "modelId": repo,
                "sha": commit,
                "private": False,
                "gated": False,
                "disabled": False,
                "tags": card.get("tags", []),
                "pipeline_tag": card.get("pipeline_tag"),
                "library_name": card.get("library_name"),
                "cardData": card,
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in tree],
            }
        )

    def _card_data(self, tree: dict[str, str]) -> dict[str, Any]:
        if "README.md" not in tree:
            return {}
        parts = self.hub.blobs[tree["README.md"]].decode().split("---\n")
        return yaml.safe_load(parts[1]) if len(parts) >= 3 and not parts[0] else {}

    def _refs(self, repo: str) -> None:
        found, _ = self.hub.find(repo, "main")
        self._send_json(
            {
                "branches": [
                    {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
                    for name, sha in found.branches.items()
                ],
                "tags": [
                    {"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in found.tags.items()
                ],
                "converts": [],
                "pullRequests": [],
            }
        )

    def _tree(self, repo: str, revision: str, path: str) -> None:
        found, commit = self.hub.find(repo, revision)
        tree = found.commits[commit]
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for name, digest in tree.items():
            if not name.startswith(prefix):
                continue
            head, _, tail = name[len(prefix) :].partition("/")
            if tail:
                entries[prefix + head] = {"type": "directory", "path": prefix + head, "oid": "0" * 40, "size": 0}
            if recursive or not tail:
                entries[name] = self._file_entry(name, digest)
        if prefix and not entries:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision}", commit)
        self._send_json(list(entries.values()))

    def _paths_info(self, repo: str, revision: str) -> None:
        found, commit = self.hub.find(repo, revision)
        tree = found.commits[commit]
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        self._send_json([self._file_entry(path, tree[path]) for path in paths if path in tree])

    def _file_entry(self, path: str, digest: str) -> dict[str, Any]:
        content = self.hub.blobs[digest]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git_blob_hash(content)}
        if _is_lfs(path):
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return entry

    def _create_branch(self, repo: str, revision: str) -> None:
        self._require_write_permission()
        starting_point = json.loads(self.body or b"{}").get("startingPoint", "main")
        found, commit = self.hub.find(repo, starting_point)
        if revision in found.branches:
            raise HubError(409, None, f"Reference already exists: refs/heads/{revision}")
        found.branches[revision] = commit
        self._send_json({})

    def _create_tag(self, repo: str, revision: str) -> None:
        self._require_write_permission()
        found, commit = self.hub.find(repo, revision)
        found.tags[json.loads(self.body)["tag"]] = commit
        self._send_json({})

    # Downloads

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        found, commit = self.hub.find(repo, revision)
        tree = found.commits[commit]
        if path not in tree:
            raise HubError(404, "EntryNotFound", f"Entry not found: {path}", commit)
        content = self.hub.blobs[tree[path]]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if _is_lfs(path):
            headers["X-Linked-Etag"] = f'"{tree[path]}"'
            headers["X-Linked-Size"] = str(len(content))
            headers["Location"] = f"{self.hub.cdn_endpoint}/cdn/{tree[path]}/{path}"
            self._send(302, b"", headers)
        else:
            headers["ETag"] = f'"{_git_blob_hash(content)}"'
            self._send_content(path, content, headers)

    def _cdn(self, digest: str, path: str) -> None:
        self._send_content(path, self.hub.blobs[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    def _send_content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        status = 200
        total = len(content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is not None:
            start = int(match[1])
            stop = min(int(match[2]) + 1, total) if match[2] else total
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            content = content[start:stop]
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        after_bytes = None if self.command == "HEAD" else self.hub.take_cut_off(path)
        if after_bytes is None:
            self._send(status, content, headers)
            return
        # Promise everything, send a part, hang up.
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content[:after_bytes])
        self.wfile.flush()
        self.close_connection = True

    # Uploads

    def _validate_yaml(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def _preupload(self, repo: str, revision: str) -> None:
        self._require_write_permission()
        found, commit = self.hub.find(repo, revision)
        tree = found.commits[commit]
        self._send_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if _is_lfs(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": _oid(file["path"], self.hub.blobs[tree[file["path"]]])
                        if file["path"] in tree
                        else None,
                    }
                    for file in json.loads(self.body)["files"]
                ]
            }
        )

    def _lfs_batch(self, repo: str) -> None:
        self._require_write_permission()
        self.hub.find(repo, "main")
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.blobs:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.endpoint}/lfs-upload/{wanted['oid']}", "header": {}},
                    "verify": {"href": f"{self.hub.endpoint}/lfs-verify", "header": {}},
                }
            objects.append(answer)
        self._send_json({"transfer": "basic", "objects": objects})

    def _lfs_upload(self, digest: str) -> None:
        failure = self.hub.upload_failure
        if failure is not None:
            raise HubError(failure.status, None, failure.message)
        if hashlib.sha256(self.body).hexdigest() != digest:
            raise HubError(400, None, "The content does not match its hash")
        with self.hub.lock:
            self.hub.store(self.body)
        self._send(200, b"", {"ETag": f'"{digest}"'})

    def _lfs_verify(self) -> None:
        if json.loads(self.body)["oid"] not in self.hub.blobs:
            raise HubError(404, None, "The object was not uploaded")
        self._send_json({})

    def _commit(self, repo: str, revision: str) -> None:
        self._require_write_permission()
        with self.hub.lock:
            found, head = self.hub.find(repo, revision)
            tree = dict(found.commits[head])
            for line in self.body.splitlines():
                operation = json.loads(line)
                value = operation["value"]
                if operation["key"] == "header":
                    parent = value.get("parentCommit")
                    if parent is not None and parent != head:
                        raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
                elif operation["key"] == "file":
                    tree[value["path"]] = self.hub.store(base64.b64decode(value["content"]))
                elif operation["key"] == "lfsFile":
                    if value["oid"] not in self.hub.blobs:
                        raise HubError(400, None, f"{value['path']} was not uploaded")
                    tree[value["path"]] = value["oid"]
                elif operation["key"] == "deletedFile":
                    del tree[value["path"]]
                elif operation["key"] == "deletedFolder":
                    prefix = value["path"].rstrip("/") + "/"
                    tree = {path: digest for path, digest in tree.items() if not path.startswith(prefix)}
            commit = self.hub._commit(found, tree, revision)
        self._send_json(
            {"commitUrl": f"{self.hub.endpoint}/{repo}/commit/{commit}", "commitOid": commit, "success": True}
        )
