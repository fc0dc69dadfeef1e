"""The common tests of configurations, on that of a student and on that of its audio side."""

import unittest

from transformers_common_tests.test_configuration_common import ConfigTester

from tests_peer.students import StudentTester
from transformers_aura import AuraAudioConfig, AuraConfig


class AuraConfigTest(unittest.TestCase):
    def test_config(self):
        self.model_tester = StudentTester("llama")
        settings = {"audio_token_id": 3, "lora_rank": 5, "lora_scope": "always"}
        ConfigTester(self, config_class=AuraConfig, has_text_modality=False, **settings).run_common_tests()


class AuraAudioConfigTest(unittest.TestCase):
    def test_config(self):
        self.model_tester = None
        settings = {"num_mel_bins": 128, "frames_per_token": 4, "conv_width": 32}
        ConfigTester(
            self, config_class=AuraAudioConfig, has_text_modality=False, common_properties=list(settings), **settings
        ).run_common_tests()
