"""What a streamer is told of several pieces is what it would be told of one text."""

import torch
from transformers.generation.streamers import BaseStreamer

from transformers_aura.modeling.piece_streamer import PieceStreamer


SPACE, END = 7, 0


class Told(BaseStreamer):
    def __init__(self) -> None:
        self.puts: list[list] = []
        self.ends = 0

    def put(self, value: torch.Tensor) -> None:
        self.puts.append(value.tolist())

    def end(self) -> None:
        self.ends += 1


def write(streamer: PieceStreamer, *puts: list[int]) -> None:
    """What `generate` tells a streamer of a piece."""
    streamer.put(torch.tensor([[1, 2]]))
    for tokens in puts:
        streamer.put(torch.tensor(tokens))
    streamer.end()


def test_pieces_are_told_as_one_text():
    told = Told()
    streamer = PieceStreamer(told, torch.tensor([[1, 2, 3, 4]]), [SPACE], [END])
    write(streamer, [10], [11], [END])
    write(streamer, [END])  # nothing is said in it
    write(streamer, [12, 13], [14, END])
    assert told.ends == 0
    streamer.close()
    assert told.puts == [[[1, 2, 3, 4]], [10], [11], [SPACE], [12, 13], [14], [END]]
    assert told.ends == 1


def test_a_text_that_is_cut_off_has_no_end():
    told = Told()
    streamer = PieceStreamer(told, torch.tensor([[1]]), [], [END])
    write(streamer, [10])
    write(streamer, [11])
    streamer.close()
    assert told.puts == [[[1]], [10], [11]]
    assert told.ends == 1
