"""Who may reach the page."""

import pytest

from transformers_aura.serving.web.access import OpenPageError, check_access


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", "::1"])
def test_this_machine_needs_no_login(host: str) -> None:
    check_access(host, has_login=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org", "127.0.0.1.example.org"])
def test_other_machines_do(host: str) -> None:
    with pytest.raises(OpenPageError, match="AURA_WEB_PASSWORD"):
        check_access(host, has_login=False)
    check_access(host, has_login=True)
