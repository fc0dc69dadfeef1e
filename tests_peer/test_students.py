"""The common tests of models, on students of three LLM families: with a recording in each row, and with text only."""

import unittest

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES
from transformers_common_tests.generation.test_utils import GenerationTesterMixin
from transformers_common_tests.test_modeling_common import ModelTesterMixin
from transformers_common_tests.test_tensor_parallel_mixin import TensorParallelTesterMixin
from transformers_common_tests.test_training_mixin import TrainingTesterMixin

from tests_peer.exemptions import with_exemptions
from tests_peer.students import StudentTester
from transformers_aura import AuraConfig, AuraForSpeechQA, AuraModel
from transformers_aura.decoding.alphabet import LATIN_ALPHABET


# In these tables the common tests look up which class has a head, hence takes labels, and which has none.
MODEL_MAPPING_NAMES[AuraConfig.model_type] = AuraModel.__name__
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[AuraConfig.model_type] = AuraForSpeechQA.__name__


class StudentTests(ModelTesterMixin, GenerationTesterMixin, TensorParallelTesterMixin):
    """The common tests, and what they are told about students."""

    all_model_classes = (AuraModel, AuraForSpeechQA)
    additional_model_inputs = ("input_features", "input_features_mask")
    model_tester: StudentTester | None = None
    _is_composite = True
    test_can_init_all_missing_weights_before_2023 = True  # they read the age of a model from its copyright notice
    skip_test_audio_features_output_shape = True  # as wide as the LLM, whose width `audio_config` does not know

    def _audio_features_prepare_config_and_inputs(self):
        config, inputs = self.model_tester.with_recordings().prepare_config_and_inputs_for_common()
        return config, {name: inputs[name] for name in self.additional_model_inputs}

    def _audio_features_get_expected_num_attentions(self, model_tester=None):
        return 0  # the patch embedding attends to nothing

    def _audio_features_get_expected_num_hidden_states(self, model_tester=None):
        return 2 + self.model_tester.get_config().audio_config.conv_blocks  # after the stem, and the embeddings


class TextTests(StudentTests):
    """Without a recording the adapter takes no part, so nothing of it gets a gradient."""

    test_all_params_have_gradient = False


@with_exemptions
class LlamaAudioStudentTest(StudentTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("llama")


@with_exemptions
class LlamaTextStudentTest(TextTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("llama", with_audio=False)


@with_exemptions
class Qwen3AudioStudentTest(StudentTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("qwen3")


@with_exemptions
class Qwen3TextStudentTest(TextTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("qwen3", with_audio=False)


@with_exemptions
class Gemma3AudioStudentTest(StudentTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("gemma3_text")


@with_exemptions
class Gemma3TextStudentTest(TextTests, unittest.TestCase):
    def setUp(self):
        self.model_tester = StudentTester("gemma3_text", with_audio=False)


@with_exemptions
class TranscriberAudioStudentTest(StudentTests, unittest.TestCase):
    """With both CTC heads, kernel blocks in the patch embedding, and LoRA on audio positions only."""

    test_all_params_have_gradient = False  # the heads have losses of their own, in the trainer

    def setUp(self):
        audio = {"conv_blocks": 1, "conv_block_type": "kernel"}
        heads = {"character_ctc_alphabet": LATIN_ALPHABET, "subword_ctc_layer": 1}
        self.model_tester = StudentTester("llama", audio=audio, lora_scope="audio", **heads)


@with_exemptions
class MergedAudioStudentTest(StudentTests, TrainingTesterMixin, unittest.TestCase):
    """A merged student has no adapter: everything is trainable, as in a plain LLM."""

    def setUp(self):
        self.model_tester = StudentTester("llama", lora_rank=0)
