"""Servers listen on this machine, or ask for a key."""

import contextlib

import pytest

from transformers_aura.serving.listening import address_of, check_host, is_loopback, listen


HERE = ("127.0.0.1", "127.1.2.3", "::1", "localhost")
ELSEWHERE = ("0.0.0.0", "::", "192.168.0.7", "example.org", "localhost.example.org", "")


@pytest.mark.parametrize(("host", "expected"), [(host, host in HERE) for host in (*HERE, *ELSEWHERE)])
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    if expected:
        check_host(host, None)
        return
    check_host(host, "key")
    with pytest.raises(ValueError, match="--api-key"):
        check_host(host, None)


def test_an_empty_key_is_none() -> None:
    with pytest.raises(ValueError, match="API key is empty"):
        check_host("127.0.0.1", " ")


def test_a_free_port_is_found_and_named_and_a_taken_one_is_an_error() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as listening:
        address = address_of(listening)
        port = int(address.removeprefix("http://127.0.0.1:"))
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*--port"):
            listen("127.0.0.1", port)
