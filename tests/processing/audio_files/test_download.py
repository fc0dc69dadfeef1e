import contextlib
import gzip
import itertools
import socketserver
import threading
import time

import numpy as np
import pytest

from tests.support.audio_files import encode, speech
from transformers_aura import AudioLoadingError, load_audio
from transformers_aura.processing.audio_files import download as module
from transformers_aura.processing.audio_files.download import quoted_url


WAV = encode(speech(1.0))
ZIPPED = gzip.compress(WAV)


def answer(body=b"", *headers, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def length(body):
    return f"Content-Length: {len(body)}"


ANSWERS = {
    "/page.wav": answer(b"<html>log in</html>"),
    "/missing.wav": answer(status="404 Not Found"),
    "/broken.wav": answer(WAV, f"Content-Length: {2 * len(WAV)}"),
    "/broken-chunk.wav": answer(b"%x\r\n" % len(WAV) + WAV[:500], "Transfer-Encoding: chunked"),
    "/huge.wav": answer(WAV, "Content-Length: 256000000000"),
    "/chunked.wav": answer(b"%x\r\n" % len(WAV) + WAV + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "/zipped.wav": answer(ZIPPED, "Content-Encoding: gzip", length(ZIPPED)),
    "/half-zipped.wav": answer(ZIPPED[:-100], "Content-Encoding: gzip"),
    "/bomb.wav": answer(gzip.compress(bytes(2_000_000)), "Content-Encoding: gzip"),
    "/brotli.wav": answer(WAV, "Content-Encoding: br"),
    "/garbage.wav": bytes(range(256)),
    "/closed.wav": b"",
    "/loop.wav": answer(b"", "Location: /loop.wav", status="302 Found"),
    "/moved.wav": answer(b"", "Location: /my question.wav", status="302 Found"),
    "/to-file.wav": answer(b"", "Location: file:///etc/passwd", status="302 Found"),
    "/to-ftp.wav": answer(b"", "Location: ftp://127.0.0.1/clip.wav", status="302 Found"),
    "/to-private.wav": answer(b"", "Location: http://127.0.0.2/clip.wav", status="302 Found"),
}
ENDLESS = {  # how each begins, what follows again and again, and the pause in between
    "/silent.wav": (b"", b"", 0.05),
    "/slow-headers.wav": (b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "/drip.wav": (answer(WAV[:10]), b"x", 0.05),
    "/stream.wav": (answer(), bytes(2**16), 0),
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        self.server.asked.append(path)
        while self.rfile.readline().strip():
            pass
        with contextlib.suppress(ConnectionError):  # the client has gone
            if path in ENDLESS:
                begin, part, pause = ENDLESS[path]
                self.wfile.write(begin)
                for _ in itertools.takewhile(lambda _: self.server.is_up, itertools.repeat(None)):
                    self.wfile.write(part)
                    time.sleep(pause)
            else:
                self.wfile.write(ANSWERS.get(path, answer(WAV, length(WAV))))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    is_up = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def server():
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.is_up = False
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/clip.wav", "/clip.wav"),
        ("/my question.wav", "/my%20question.wav"),
        ("/my%20question.wav", "/my%20question.wav"),
        ("/100% sure.wav", "/100%25%20sure.wav"),
        ("/frage-für-dich.wav?an=Jörg&b=1#start", "/frage-f%C3%BCr-dich.wav?an=J%C3%B6rg&b=1"),
        ("/pasted.wav \n", "/pasted.wav"),
        ("/chunked.wav", "/chunked.wav"),
        ("/zipped.wav", "/zipped.wav"),
        ("/moved.wav", "/my%20question.wav"),
    ],
)
def test_what_an_address_leads_to_is_read(server, path, asked):
    np.testing.assert_array_equal(load_audio(server.url + path), load_audio(WAV))
    assert server.asked[-1] == asked
    np.testing.assert_array_equal(load_audio({"path": server.url.upper() + path}), load_audio(WAV))


@pytest.mark.parametrize(
    ("url", "quoted"),
    [
        ("HTTPS://München.example:8080/ä", "https://xn--mnchen-3ya.example:8080/%C3%A4"),
        ("http://[::1]:80/a b", "http://[::1]:80/a%20b"),
        ("http://a.example/%C3%A4%20?x=%26", "http://a.example/%C3%A4%20?x=%26"),
    ],
)
def test_addresses_are_quoted_once(url, quoted):
    assert quoted_url(url) == quoted
    assert quoted_url(quoted) == quoted


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing.wav", r"answered HTTP 404 \(Not Found\). Check the address"),
        ("/page.wav", "is a web page"),
        ("/broken.wav", rf"broke off after {len(WAV)} bytes"),
        ("/broken-chunk.wav", "broke off after"),
        ("/half-zipped.wav", "broke off after"),
        ("/huge.wav", "has more than 1000000 bytes.*larger `max_bytes`"),
        ("/bomb.wav", "has more than 1000000 bytes"),
        ("/stream.wav", "has more than 1000000 bytes"),
        ("/brotli.wav", "content encoding 'br'"),
        ("/garbage.wav", "cannot be downloaded"),
        ("/closed.wav", "cannot be downloaded: Remote end closed connection"),
        ("/loop.wav", "answered HTTP 302 .*infinite loop"),
        ("/to-file.wav", "answered HTTP 302 .*'file:///etc/passwd' is not allowed"),
        ("/to-ftp.wav", "cannot be reached: unknown url type: ftp"),
        ("/silent.wav", "did not answer within 0.3 s"),
        ("/slow-headers.wav", "(did not answer|was not there) within 0.3 s"),  # by when it looks
        ("/drip.wav", r"was not there within 0.3 s \([0-9]+ bytes were\). Pass a larger `timeout_seconds`"),
    ],
)
def test_what_goes_wrong_with_a_server_is_told_in_time(server, path, message):
    start = time.monotonic()
    timeout = 0.3 if "0.3 s" in message else 10.0
    with pytest.raises(AudioLoadingError, match=message) as raised:
        load_audio(server.url + path, timeout_seconds=timeout, max_bytes=1_000_000)
    assert server.url + path in str(raised.value)
    assert str(raised.value).isprintable()
    assert time.monotonic() - start < 8.0


@pytest.mark.fault("audio")
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/clip.wav", "'http://127.0.0.1:9/clip.wav' cannot be reached"),
        ("http:///clip.wav", "it names no host"),
        ("http://127.0.0.1:port/clip.wav", "cannot be downloaded: Port could not be cast"),
        ("http://a..b/clip.wav", "cannot be downloaded"),
        ("http://[::1/clip.wav", "cannot be downloaded: Invalid IPv6 URL"),
        ("http://name:secret@127.0.0.1/clip.wav", "user names and passwords in an address are not taken"),
    ],
)
def test_what_is_wrong_with_an_address_is_told(url, message):
    with pytest.raises(AudioLoadingError, match=message):
        load_audio(url)


@pytest.mark.fault("audio")
def test_a_public_server_cannot_send_to_a_private_address(server, monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert not module._is_public("127.0.0.1")
    assert not module._is_public("::ffff:10.0.0.1")
    assert not module._is_public("fe80::1%eth0")
    assert module._is_public("93.184.216.34")
    monkeypatch.setattr(module, "_is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(AudioLoadingError, match=r"from a public to a private address \(127.0.0.2 is 127.0.0.2\)"):
        load_audio(server.url + "/to-private.wav")
