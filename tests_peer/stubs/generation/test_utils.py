"""The tests of `generate` are not in the source distribution: `tests/modeling/test_generation.py` holds those of this project."""


class GenerationTesterMixin:
    """Without a test."""
