"""Where a server listens: on this machine only, unless clients have to send a key."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, api_key: str | None) -> None:
    """
    Raises:
        ValueError: other machines could reach the server, and nobody would ask them for a key; or the key is empty.
    """
    if api_key is not None and not api_key.strip():
        raise ValueError("The API key is empty. Give a long random one, or leave it out.")
    if api_key is None and not is_loopback(host):
        raise ValueError(
            f"Other machines could reach {host}, and use the server without a key. Give one with --api-key (or AURA_API_KEY), or listen on 127.0.0.1."
        )


def listen(host: str, port: int) -> socket.socket:
    """
    A socket that waits for clients.

    Args:
        host: a name or address of this machine.
        port: 0 = a free one.

    Raises:
        OSError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"The server cannot listen on {host}, port {port}: {error.strerror or error}. Give another --port or --host."
        ) from error


def address_of(listening: socket.socket) -> str:
    """The URL of a server that listens on a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
