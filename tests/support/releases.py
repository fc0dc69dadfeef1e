"""What the oldest supported release of transformers cannot do, so that tests of it are skipped there, and say so."""

import pytest
import transformers
from packaging.version import Version


IS_OLD = Version(transformers.__version__) < Version("5.24")

needs_transformers_5_24 = pytest.mark.skipif(
    IS_OLD,
    reason=f"tried with transformers 5.24; what transformers {transformers.__version__} does here fails by itself",
)
