"""A plugin of pytest: counts the tests with the marker `fault`, by area."""

from __future__ import annotations

import json
from collections import Counter

import pytest


COUNTED = "tests that inject a fault: "


def pytest_collection_finish(session: pytest.Session) -> None:
    areas = (marker.args[0] for item in session.items for marker in item.iter_markers("fault"))
    print(f"\n{COUNTED}{json.dumps(Counter(areas))}")
