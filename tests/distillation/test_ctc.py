import math
from itertools import product

import torch

from transformers_aura.distillation.ctc import align_ctc, ctc_loss, has_path


def spelled(path):
    """What a CTC path says, and at which steps each symbol of it stands."""
    symbols, steps = [], []
    for step, symbol in enumerate(path):
        if symbol and (step == 0 or symbol != path[step - 1]):
            symbols.append(symbol)
            steps.append([step])
        elif symbol:
            steps[-1].append(step)
    return symbols, steps


def test_alignment_is_the_best_of_all_paths():
    generator = torch.Generator().manual_seed(0)
    for transcript in ([1], [1, 2], [2, 2], [1, 2, 1], []):
        for num_steps in (3, 4, 5):
            logits = 2 * torch.randn(1, num_steps, 3, generator=generator)
            log_probabilities = logits[0].log_softmax(-1)
            paths = [path for path in product(range(3), repeat=num_steps) if spelled(path)[0] == transcript]
            best = max(paths, key=lambda path: sum(log_probabilities[step, s] for step, s in enumerate(path)))
            expected = [
                max(steps, key=lambda step, s=symbol: log_probabilities[step, s])
                for symbol, steps in zip(*spelled(best), strict=True)
            ]
            targets = torch.tensor([transcript], dtype=torch.long)
            found = align_ctc(logits, torch.tensor([num_steps]), targets, torch.tensor([len(transcript)]))
            assert found.tolist() == [expected], (transcript, num_steps)


def test_padding_changes_no_alignment():
    logits = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[3, 1, 2], [2, 3, 3]])
    lengths, target_lengths = torch.tensor([6, 4]), torch.tensor([3, 1])
    found = align_ctc(logits, lengths, targets, target_lengths)
    alone = align_ctc(logits[1:, :4], lengths[1:], targets[1:, :1], target_lengths[1:])
    assert found[1].tolist() == [alone.item(), -1, -1]
    assert (found[0].diff() > 0).all()


def test_a_clip_too_short_for_its_transcript_has_no_alignment():
    logits = torch.zeros(2, 2, 3)
    found = align_ctc(logits, torch.tensor([2, 2]), torch.tensor([[1, 1], [1, 2]]), torch.tensor([2, 2]))
    assert found.tolist() == [[-1, -1], [0, 1]]  # a symbol twice needs a blank between


def test_ctc_equals_the_sum_over_all_alignments():
    # Two steps, blank / a / b with p = (0.2, 0.5, 0.3) and (0.6, 0.3, 0.1).
    logits = torch.tensor([[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]]).log().repeat(4, 1, 1)
    steps = torch.tensor([2, 2, 2, 1])
    targets = torch.tensor([[1, 0], [1, 2], [0, 0], [1, 2]])
    lengths = torch.tensor([1, 2, 0, 2])
    # "a": a-, -a, aa; "ab": ab alone; no transcript; more characters than steps.
    a = 0.5 * 0.6 + 0.2 * 0.3 + 0.5 * 0.3
    expected = torch.tensor([-math.log(a), -math.log(0.5 * 0.1), 0.0, 0.0])
    torch.testing.assert_close(ctc_loss(logits, steps, targets, lengths), expected)
    assert ctc_loss(torch.zeros(2, 0, 3), torch.zeros(2).long(), targets[:2], lengths[:2]).tolist() == [0, 0]


def test_a_clip_has_a_path_where_its_loss_is_finite():
    targets = torch.tensor([[1, 2, 3], [1, 1, 2], [2, 2, 2], [3, 0, 0], [0, 0, 0]])
    lengths = torch.tensor([3, 3, 3, 1, 0])
    for frames in range(1, 7):
        logit_lengths = torch.full((5,), frames)
        logits = torch.zeros(5, frames, 4).log_softmax(-1).transpose(0, 1)
        losses = torch.nn.functional.ctc_loss(logits, targets, logit_lengths, lengths, reduction="none")
        expected = losses.isfinite() & (lengths > 0)
        assert has_path(logit_lengths, targets, lengths).tolist() == expected.tolist(), frames
    assert has_path(torch.tensor([3]), torch.zeros(1, 0, dtype=torch.long), torch.tensor([0])).tolist() == [False]
