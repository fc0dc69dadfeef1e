"""What every test gets, as in `tests/`: no network, one thread a process, a Hub on loopback."""

pytest_plugins = ["tests.conftest"]
