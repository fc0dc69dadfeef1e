"""The common tests of feature extractors of sequences."""

import unittest

import numpy as np
from transformers_common_tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin

from tests_peer.exemptions import with_exemptions
from transformers_aura import AuraFeatureExtractor


class FeatureExtractorTester:
    """Settings, and features of seven clips whose lengths rise by `seq_length_diff`."""

    feature_size = 24
    batch_size = 7
    # The tests expect the longest to have `max_seq_length + seq_length_diff` frames; where silence is 0 it would not matter.
    min_seq_length = 400
    seq_length_diff = 266
    max_seq_length = 400 + 5 * 266

    def prepare_feat_extract_dict(self):
        return {"feature_size": self.feature_size, "hop_length": 80, "sampling_rate": 8000, "n_fft": 200}

    def prepare_inputs_for_common(self, equal_length=False, numpify=False):
        generator = np.random.default_rng(0)
        steps = range(self.batch_size)
        lengths = [self.min_seq_length + (0 if equal_length else step) * self.seq_length_diff for step in steps]
        clips = [generator.random((length, self.feature_size), dtype=np.float32) for length in lengths]
        return clips if numpify else [clip.tolist() for clip in clips]


@with_exemptions
class FeatureExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = AuraFeatureExtractor

    def setUp(self):
        self.feat_extract_tester = FeatureExtractorTester()
