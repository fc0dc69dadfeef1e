"""What the common tests of transformers need before they are imported: no network, one thread a process, the tests themselves."""

import os
import sys


os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
)

from transformers import testing_utils

from tests_peer.common_tests import STUBS, make_common_tests_importable


make_common_tests_importable()
sys.path.append(str(STUBS))  # the processor's tests import `fetch_hub_objects_for_ci` by that name alone

# Theirs load audio with librosa where a processor's own `load_audio` does not; this one's does, without it.
testing_utils.require_librosa = lambda test: test
