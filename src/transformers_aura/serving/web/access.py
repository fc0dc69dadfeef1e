"""Who may reach the page."""

from ..listening import is_loopback


class OpenPageError(ValueError):
    """The page would be open to other machines. The message says what to do about it."""


def check_access(host: str, has_login: bool) -> None:
    """
    Raises:
        OpenPageError: `host` is an address that other machines reach, and nobody has to log in.
    """
    if has_login or is_loopback(host):
        return
    raise OpenPageError(
        f"The page would be open to everybody who reaches {host}. Either leave out --host, and open the page through a tunnel: "
        "`ssh -L 7860:127.0.0.1:7860 THIS_MACHINE`, then http://127.0.0.1:7860 (browsers give a microphone to a page of their own machine, and to "
        "https). Or ask for a login: --user NAME, with the password in the environment variable AURA_WEB_PASSWORD."
    )
