"""The two CTC heads: transcripts told from the student's states at the audio positions, in characters and in the LLM's own tokens."""

from __future__ import annotations

import torch
from torch import nn

from ..decoding.alphabet import CharacterAlphabet


STEPS_PER_TOKEN = 4
"""Frames of character emissions in an audio token: 50 a second at 12.5 audio tokens a second, three times what people say."""


class CharacterCTCHead(nn.Module):
    """RMSNorm, then a Linear to [`STEPS_PER_TOKEN`] x (blank + alphabet), on the audio patch embeddings.

    Args:
        student_width: hidden size of the student.
        alphabet: characters that it tells apart, see [`~transformers_aura.decoding.alphabet.CharacterAlphabet`].
    """

    def __init__(self, student_width: int, alphabet: str) -> None:
        super().__init__()
        self.characters = CharacterAlphabet(alphabet).characters
        self.num_symbols = 1 + len(self.characters)
        self.norm = nn.RMSNorm(student_width, eps=1e-6)
        self.projection = nn.Linear(student_width, STEPS_PER_TOKEN * self.num_symbols)

    def reset_parameters(self) -> None:
        """Begins anew."""
        nn.init.ones_(self.norm.weight)
        self.projection.reset_parameters()

    @torch.no_grad()
    def copy_characters(self, other: CharacterCTCHead) -> None:
        """The blank and the characters that both alphabets have begin as they are in `other`, a head of the same width; the others stay."""
        pairs = [(0, 0)] + [
            (1 + symbol, 1 + other.characters.index(character))
            for symbol, character in enumerate(self.characters)
            if character in other.characters
        ]
        mine, theirs = map(list, zip(*pairs, strict=True))
        for own, others in zip(self.projection.parameters(), other.projection.parameters(), strict=True):
            steps = (STEPS_PER_TOKEN, -1, *own.shape[1:])
            own.view(steps)[:, mine] = others.view(steps)[:, theirs].to(own)
        self.norm.load_state_dict(other.norm.state_dict())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits, symbol 0 is the blank, `(rows, steps, symbols)`.

        Args:
            states: of the audio tokens, `(rows, audio tokens, student_width)`.
        """
        logits = self.projection(self.norm(states.to(self.norm.weight.dtype)))
        return logits.view(len(logits), -1, self.num_symbols)

    @torch.no_grad()
    def log_probabilities(self, states: torch.Tensor) -> torch.Tensor:
        """Of the blank (column 0) and every character, in float32 whatever the weights are in.

        Args:
            states: of the audio tokens of one clip, `(audio tokens, student_width)`.

        Returns:
            `(steps, symbols)`.
        """
        states = nn.functional.rms_norm(states.float(), states.shape[-1:], self.norm.weight.float(), self.norm.eps)
        logits = nn.functional.linear(states, self.projection.weight.float(), self.projection.bias.float())
        return logits.view(-1, self.num_symbols).log_softmax(-1)


NUM_CANDIDATES = 4096
"""Tokens that a training step tells apart: those of its transcripts, and others at random up to this number."""


def audio_states(hidden_states: torch.Tensor, is_audio: torch.Tensor) -> torch.Tensor:
    """The states at the audio positions of each row, in their order, `(rows, longest clip, width)`, right padded with anything.

    Args:
        hidden_states: `(rows, sequence, width)`.
        is_audio (`torch.BoolTensor` of shape `(rows, sequence)`): audio positions.
    """
    longest = int(is_audio.sum(-1).max())
    order = is_audio.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :longest, None]
    return hidden_states.gather(1, order.expand(-1, -1, hidden_states.shape[-1]))


VOCABULARY_PART = 16384
"""Token embeddings that are in float32 at once."""


class SubwordCTCHead(nn.Module):
    """RMSNorm, a Linear that begins as the identity, then the LLM's own (frozen) token embeddings; and one logit for the blank.

    So the states are taught in the directions in which the LLM itself tells its tokens apart. One step for each audio token.

    Args:
        student_width: hidden size of the student.
    """

    def __init__(self, student_width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(student_width, eps=1e-6)
        self.projection = nn.Linear(student_width, student_width, bias=False)
        self.blank = nn.Linear(student_width, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reads the states as if they were token embeddings."""
        nn.init.ones_(self.norm.weight)
        nn.init.eye_(self.projection.weight)
        nn.init.zeros_(self.blank.weight)
        nn.init.zeros_(self.blank.bias)

    def forward(
        self, hidden_states: torch.Tensor, is_audio: torch.Tensor, token_embeddings: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of every audio token, and the transcripts in their symbols.

        Args:
            hidden_states: `(rows, sequence, student_width)`.
            is_audio (`torch.BoolTensor` of shape `(rows, sequence)`): audio positions, one clip a row.
            token_embeddings: the LLM's, `(vocabulary, student_width)`.
            tokens (`torch.LongTensor` of shape `(rows, tokens)`): of the transcripts, right padded with any token.

        Returns:
            logits `(rows, steps, 1 + candidates)`, steps right padded, symbol 0 is the blank; and `tokens` as symbols 1 and up.
            In evaluation every token of the vocabulary is a candidate.
        """
        vocabulary = len(token_embeddings)
        priority = torch.rand(vocabulary, device=tokens.device)
        priority[tokens.flatten()] = 2.0
        num_candidates = max(NUM_CANDIDATES, int((priority == 2.0).sum())) if self.training else vocabulary
        candidates = priority.topk(min(num_candidates, vocabulary)).indices
        symbols = torch.zeros(vocabulary, dtype=torch.long, device=tokens.device)
        symbols[candidates] = torch.arange(1, 1 + len(candidates), device=tokens.device)

        states = self.norm(audio_states(hidden_states, is_audio).to(self.norm.weight.dtype))
        of_tokens = self.projection(states) @ token_embeddings[candidates].to(states.dtype).T
        return torch.cat([self.blank(states).to(of_tokens.dtype), of_tokens], dim=-1), symbols[tokens]

    @torch.no_grad()
    def log_probabilities(self, states: torch.Tensor, token_embeddings: torch.Tensor) -> torch.Tensor:
        """Of the blank (column 0) and every token (its id + 1), in float32 whatever the weights are in.

        Args:
            states: of the audio tokens of one clip, `(steps, student_width)`.
            token_embeddings: the LLM's, `(vocabulary, student_width)`.

        Returns:
            `(steps, 1 + vocabulary)`.
        """
        states = nn.functional.rms_norm(states.float(), states.shape[-1:], self.norm.weight.float(), self.norm.eps)
        projected = states @ self.projection.weight.float().T
        blank = states @ self.blank.weight.float().T + self.blank.bias.float()
        parts = [projected @ part.float().T for part in token_embeddings.split(VOCABULARY_PART)]
        return torch.cat([blank, *parts], dim=-1).log_softmax(-1)
