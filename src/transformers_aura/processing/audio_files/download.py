"""The bytes behind an `http(s)` address, within limits of size and of time in all."""

import contextlib
import functools
import http.client
import ipaddress
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from typing import Any

from ..audio_errors import AudioLoadingError
from ..audio_limits import AudioLimits


_USER_AGENT = "transformers-aura"
_CHUNK_BYTES = 2**16
_ADVICE = "Check the address, or download the file and pass its path."


def download(url: str, description: str, limits: AudioLimits) -> bytes:
    """Fetch a URL. Blanks and letters outside ASCII are quoted, as browsers do.

    The time limit holds for all of it: the name's look-up, redirects, headers and body. A redirect may lead to another `http(s)`
    address, but from a public one not to a private one (where a proxy is set up, that is the proxy's matter).

    Raises:
        AudioLoadingError: no address, no answer, an answer other than 200, a body that breaks off, or one beyond the limits.
    """
    job = _Download(url, description, limits)
    thread = threading.Thread(target=job.run, name="transformers-aura-download", daemon=True)
    thread.start()
    try:
        thread.join(limits.timeout_seconds)
        if thread.is_alive():
            raise AudioLoadingError(job.timeout_message)
    finally:
        job.abort()
    if job.error is not None:
        raise job.error
    return bytes(job.body)


def quoted_url(url: str) -> str:
    """An address as it is sent: what is quoted already stays as it is.

    Raises:
        ValueError: no host, or a host or port that cannot be.
    """
    parts = urllib.parse.urlsplit(re.sub(r"[\t\r\n]", "", url.strip()))
    if not parts.hostname:
        raise ValueError("it names no host")
    if "@" in parts.netloc:
        raise ValueError("user names and passwords in an address are not taken")
    host = parts.hostname
    host = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    path, query = (
        urllib.parse.quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", part), safe="/?:@!$&'()*+,;=~%[]")
        for part in (parts.path, parts.query)
    )
    return urllib.parse.urlunsplit((parts.scheme.lower(), netloc, path, query, ""))


class _Download:
    """One download, made to run in a thread of its own: nothing else ends a look-up or a server that drips."""

    def __init__(self, url: str, description: str, limits: AudioLimits) -> None:
        self.url = url
        self.name = description
        self.limits = limits
        self.body: bytes | bytearray = b""
        self.error: AudioLoadingError | None = None
        self._aborted = False
        self._answered = False
        self._was_public = False
        self._sockets: list[socket.socket] = []

    @property
    def timeout_message(self) -> str:
        seconds = f"{self.limits.timeout_seconds:g} s"
        if not self._answered:
            return f"{self.name} did not answer within {seconds}. {_ADVICE}"
        return (
            f"{self.name} was not there within {seconds} ({len(self.body)} bytes were). Pass a larger `timeout_seconds` to "
            "`load_audio`, or download the file and pass its path."
        )

    def abort(self) -> None:
        """End the connections, which wakes the thread that reads from them."""
        self._aborted = True
        for connection in self._sockets:
            with contextlib.suppress(OSError):  # ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        try:
            self._fetch()
        except AudioLoadingError as error:
            self.error = error
        except Exception as error:
            self.error = AudioLoadingError(self._explain(error))
            self.error.__cause__ = error
        finally:
            for connection in self._sockets:
                connection.close()

    def _explain(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return self.timeout_message
        if isinstance(error, http.client.IncompleteRead):
            return (
                f"The download of {self.name} broke off after {len(self.body) + len(error.partial)} bytes. {_ADVICE}"
            )
        text = " ".join(ascii(str(reason))[1:-1].split("\\n"))[:300]  # a server may have chosen it
        if isinstance(error, urllib.error.HTTPError):
            return f"{self.name} answered HTTP {error.code} ({text}). {_ADVICE}"
        if isinstance(error, urllib.error.URLError):
            return f"{self.name} cannot be reached: {text}. {_ADVICE}"
        return f"{self.name} cannot be downloaded: {text}. {_ADVICE}"

    def _fetch(self) -> None:
        opener = urllib.request.OpenerDirector()  # `build_opener` would add ftp, file and data
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPErrorProcessor(),
            _HTTPHandler(self),
        ):
            opener.add_handler(handler)
        request = urllib.request.Request(quoted_url(self.url), headers={"User-Agent": _USER_AGENT})
        max_bytes = self.limits.max_stream_bytes
        with opener.open(request, timeout=self.limits.timeout_seconds) as response:
            self._answered = True
            self.body = bytearray()
            stated = response.length
            self.limits.check_bytes(stated or 0, max_bytes, self.name)
            while chunk := response.read(_CHUNK_BYTES):
                self.body += chunk
                self.limits.check_bytes(len(self.body), max_bytes, self.name)
            if stated is not None and len(self.body) < stated:
                raise http.client.IncompleteRead(b"", stated - len(self.body))
            encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip", "deflate"):  # not asked for, sent all the same
            decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header
            self.body = decoder.decompress(self.body, max_bytes + 1)
            self.limits.check_bytes(len(self.body), max_bytes, self.name)
            if not decoder.eof:
                raise http.client.IncompleteRead(b"")
        elif encoding != "identity":
            raise ValueError(f"it came with the content encoding '{encoding}'")

    def connect(self, through_proxy: bool, address: tuple[str, int], timeout: float, source: Any) -> socket.socket:
        """A connection to the first address of a host that answers; stands in for `socket.create_connection`."""
        failure: OSError | None = None
        for *_, target in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            number = str(target[0])
            is_public = _is_public(number)
            if self._was_public and not is_public and not through_proxy:
                raise AudioLoadingError(
                    f"{self.name} leads from a public to a private address ({address[0]} is {number}), which is not "
                    "followed. Pass that address itself if it is meant."
                )
            try:
                connection = socket.create_connection((number, target[1]), timeout, source)
            except OSError as error:
                failure = error
                continue
            self._was_public = self._was_public or (is_public and not through_proxy)
            self._sockets.append(connection.dup())  # outlives what http.client and ssl do to `connection`
            if self._aborted:
                self.abort()
            return connection
        raise failure or OSError(f"{address[0]} has no address")


class _HTTPHandler(urllib.request.HTTPHandler):
    """Opens `http` and `https` by the connections of a [`_Download`]."""

    def __init__(self, job: _Download) -> None:
        super().__init__()
        self._job = job

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connections(http.client.HTTPConnection, request), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connections(http.client.HTTPSConnection, request), request)

    https_request = urllib.request.HTTPHandler.http_request

    def _connections(self, kind: type[http.client.HTTPConnection], request: urllib.request.Request) -> Any:
        through_proxy = request.host != urllib.parse.urlsplit(request.full_url).netloc

        def connection(host: str, **kwargs: Any) -> http.client.HTTPConnection:
            made = kind(host, **kwargs)
            made._create_connection = functools.partial(self._job.connect, through_proxy)  # type: ignore[attr-defined]
            return made

        return connection


def _is_public(address: str) -> bool:
    number = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(number, "ipv4_mapped", None) or number).is_global
