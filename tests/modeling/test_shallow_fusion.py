"""The LLM's opinion of a transcript is what it says when it reads the words, however they are put to it, and is weighed as it says."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura.modeling.shallow_fusion import LanguageModelScorer, ShallowFusionLogitsProcessor


CONTEXTS = [[5, 6, 7, 8], [9, 10]]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_language_model(tmp_path_factory.mktemp("base"), "qwen2")


@pytest.fixture
def scorer(base) -> LanguageModelScorer:
    return LanguageModelScorer(tiny_student(base), CONTEXTS)


@torch.no_grad()
def read_whole(base: Path, prompt: int, tokens: tuple[int, ...]) -> torch.Tensor:
    """By the base LLM itself, at once."""
    llm = AutoModelForCausalLM.from_pretrained(base)
    return llm(torch.tensor([[*CONTEXTS[prompt], *tokens]])).logits[0, -1].log_softmax(-1)


def test_a_text_is_read_as_the_base_llm_reads_it(scorer, base):
    for texts in (
        [(0, ()), (0, ()), (1, ())],  # beams begin alike
        [(1, (20,)), (0, (30,)), (0, (31,))],
        [(0, (31, 40)), (0, (31, 41)), (1, (20, 21))],  # one beam went on twice, another was given up
        [(1, (20,))],  # back
        [(0, (31, 40, 50)), (1, (20, 21, 22))],  # what was forgotten
        [(1, (20, 21, 22, 23))],
    ):
        read = scorer.next_token(texts)
        expected = torch.stack([read_whole(base, *text) for text in texts])
        torch.testing.assert_close(read, expected, atol=1e-4, rtol=1e-4)


def test_a_text_that_goes_on_is_not_read_again(scorer, monkeypatch):
    lengths = []
    forward = type(scorer._model).forward
    monkeypatch.setattr(
        type(scorer._model),
        "forward",
        lambda self, **arguments: lengths.append(arguments["input_ids"].shape[1]) or forward(self, **arguments),
    )
    for tokens in ((), (20,), (20, 21), (20, 21, 22)):
        scorer.next_token([(0, tokens), (1, tokens)])
    assert lengths == [4, 1, 1, 1]


def test_the_weight_is_put_on_transcripts_that_go_on_alone(scorer, base):
    end = 2
    processor = ShallowFusionLogitsProcessor(scorer, prompt_length=3, weight=0.5, eos_token_ids=[end])
    written = torch.tensor([[0, 0, 5, 20], [0, 0, 5, end], [0, 9, 9, 20], [0, 9, 9, 21]])  # two beams of two prompts
    scores = torch.randn(4, len(read_whole(base, 0, ())))
    fused = processor(written, scores)
    for row, text in ((0, (0, (20,))), (2, (1, (20,))), (3, (1, (21,)))):
        expected = scores[row] + 0.5 * read_whole(base, *text)
        torch.testing.assert_close(fused[row], expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(fused[1], scores[1])
    ended = torch.tensor([[0, 0, 5, end]] * 4)
    assert torch.equal(processor(ended, scores), scores)
    forbidden = scores.index_fill(1, torch.tensor([7]), -torch.inf)
    assert processor(written, forbidden)[:, 7].isneginf().all()


def test_a_prompt_with_nothing_before_its_audio_keeps_its_scores(base):
    scorer = LanguageModelScorer(tiny_student(base), [CONTEXTS[0], []])
    processor = ShallowFusionLogitsProcessor(scorer, prompt_length=1, weight=0.5, eos_token_ids=[2])
    scores = torch.randn(2, len(read_whole(base, 0, ())))
    fused = processor(torch.tensor([[0], [0]]), scores)
    torch.testing.assert_close(fused[0], scores[0] + 0.5 * read_whole(base, 0, ()), atol=1e-4, rtol=1e-4)
    assert torch.equal(fused[1], scores[1])
