"""The terms of the loss, one a file: what each needs, what its sum is divided by, and the sum.

A new term is a file with a subclass of [`Objective`], and its weight: give it to [`AuraTrainer`] beside the others,

```python
trainer = AuraTrainer(..., args=args, objectives={**default_objectives(args), "mine": MyObjective(weight=0.1)})
```
"""

from ..training_args import AuraTrainingArguments
from .answer_kl import ROW_SWITCH, AnswerKLObjective
from .character_ctc import CharacterCTCObjective
from .cosine import CosineObjective
from .language_modeling import LanguageModelingObjective
from .mse import MSEObjective
from .objective import Objective
from .on_policy import OnPolicyObjective
from .second_teacher import SecondTeacherObjective
from .subword_ctc import SubwordCTCObjective
from .text_states import TextStatesObjective


ROW_SWITCHES: tuple[str, ...] = (ROW_SWITCH,)
"""Optional booleans of a row that keep it out of an objective."""


def default_objectives(args: AuraTrainingArguments) -> dict[str, Objective]:
    """The objectives that training arguments ask for.

    Args:
        args: with the weights, and with `supervision`.

    Returns:
        by name those with a weight above 0 that `supervision` lets in.

    Example:

    ```python
    >>> sorted(default_objectives(AuraTrainingArguments("out", supervision="distillation")))
    ['cosine', 'mse']
    ```

    Raises:
        ValueError: none is left.
    """
    known: tuple[Objective, ...] = (
        CosineObjective(args.cosine_weight),
        MSEObjective(args.mse_weight),
        LanguageModelingObjective(args.lm_weight, args.label_smoothing_factor),
        AnswerKLObjective(args.answer_kl_weight),
        OnPolicyObjective(
            args.on_policy_weight,
            args.on_policy_beta,
            args.on_policy_fraction,
            args.on_policy_max_new_tokens,
            args.on_policy_temperature,
        ),
        CharacterCTCObjective(args.character_ctc_weight),
        SubwordCTCObjective(args.subword_ctc_weight),
        TextStatesObjective(args.text_state_weight),
    )
    objectives = {
        objective.name: objective
        for objective in known
        if objective.weight > 0
        and not (objective.needs_teacher and args.supervision == "transcript")
        and not (objective.needs_text and args.supervision == "distillation")
    }
    if not objectives:
        raise ValueError(
            f"Nothing is left to learn: with `supervision={args.supervision!r}` all weights of its losses are 0."
        )
    return objectives


__all__ = [
    "ROW_SWITCHES",
    "AnswerKLObjective",
    "CharacterCTCObjective",
    "CosineObjective",
    "LanguageModelingObjective",
    "MSEObjective",
    "Objective",
    "OnPolicyObjective",
    "SecondTeacherObjective",
    "SubwordCTCObjective",
    "TextStatesObjective",
    "default_objectives",
]
