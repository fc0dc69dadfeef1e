"""What every test of the training room gets."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_garbage_collection() -> Iterator[None]:
    """Each `train` collects garbage, which takes longer than a tiny training where all that was imported is looked at."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
