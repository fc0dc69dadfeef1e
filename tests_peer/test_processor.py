"""The common tests of processors."""

import unittest

from transformers_common_tests.test_processing_common import ProcessorTesterMixin

from tests.support.tiny import STRING_CHAT_TEMPLATE, tiny_tokenizer
from tests_peer.exemptions import with_exemptions
from transformers_aura import AuraFeatureExtractor, AuraProcessor


CHAT_TEMPLATE = STRING_CHAT_TEMPLATE.replace(
    "message['content']", "(message['content'] or message['tool_calls'] | tojson)"
)


@with_exemptions
class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = AuraProcessor

    @classmethod
    def _setup_tokenizer(cls):
        return tiny_tokenizer(CHAT_TEMPLATE)

    @classmethod
    def _setup_feature_extractor(cls):
        return AuraFeatureExtractor()

    @staticmethod
    def prepare_processor_dict():
        return {"frames_per_token": 4}
