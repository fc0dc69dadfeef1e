"""The research project's tests stand on the product's: the same Hub on loopback, the same tiny models."""

from tests.conftest import fake_hub, may_only_read, may_write, pytest_unconfigure


__all__ = ["fake_hub", "may_only_read", "may_write", "pytest_unconfigure"]
