"""Everything that a student must hold, on a tiny LLM of every supported family."""

import pytest

from tests.families.probe import probe
from tests.families.test_probe import INSTALLED


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", INSTALLED)
def test_every_invariant(family, tmp_path):
    assert probe(family, tmp_path).fails == {}
