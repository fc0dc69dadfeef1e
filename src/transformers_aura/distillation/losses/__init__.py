"""The losses of the training room, one a file.

Every loss takes the flat rows that count (audio tokens or answer tokens of the whole batch, without any padding) and
returns one value a row, so that the trainer can average over the whole optimisation step, however it is split into
micro-batches and processes.
"""

from .answer_kl import AnswerKLLoss
from .cosine import CosineLoss
from .ctc import CTCLoss
from .language_modeling import LanguageModelingLoss
from .mse import MSELoss
from .text_state import TextStateLoss


__all__ = ["AnswerKLLoss", "CTCLoss", "CosineLoss", "LanguageModelingLoss", "MSELoss", "TextStateLoss"]
