"""Arguments of a distillation run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from transformers import TrainingArguments

from .alignment import LAYER_MAPPINGS, TIME_ALIGNMENTS, LayerMapping, TimeAlignment
from .heads import TEACHER_NORMALIZATIONS, TeacherNormalization
from .launching import Sharding, asked_sharding, check_processes, hidden_from_accelerate, sharding_of
from .unsupported_arguments import check_supported
from .zero import Zero, asked_zero


Supervision: TypeAlias = Literal["transcript", "distillation", "both"]
SUPERVISIONS: tuple[str, ...] = get_args(Supervision)

ERROR_RATES = ("wer", "cer")
"""Metrics that are better the lower they are, by the last word of their names (`eval_wer`, `eval_noisy_wer`)."""


@dataclass
class AuraTrainingArguments(TrainingArguments):
    r"""
    Arguments of [`AuraTrainer`], beside those of [`~transformers.TrainingArguments`]; of these, some have no meaning here and are refused
    (`distillation/unsupported_arguments.py`).

    The loss is the sum of the objectives whose weight is above 0, each times its weight; what each of them is says its own file in
    `distillation/objectives/`. Each is averaged over what it is about (audio tokens, answer tokens, characters or tokens of transcripts) in the whole
    optimisation step: all micro-batches of all processes.

    Args:
        > Parameters that control the supervision

        supervision (`str`, *optional*, defaults to `"both"`):
            Which losses are used. `"transcript"`: those that need text, without the teacher. `"distillation"`: those that need the teacher
            (cosine and MSE), without text. `"both"`: all (the best in AuRA's ablation).
        distillation_warmup_steps (`float`, *optional*, defaults to `0`):
            With `supervision="both"`: number of first steps (below 1: share of all steps, as for `warmup_steps`) without the objectives that teach answers
            (`lm`, `answer_kl`, `on_policy`). These steps are much cheaper, as they need neither the upper layers nor the LLM head.
        lm_weight (`float`, *optional*, defaults to `1.0`):
            Weight of the next-token cross-entropy. `label_smoothing_factor` acts on it alone.
        answer_kl_weight (`float`, *optional*, defaults to `0.0`):
            Weight of the KL divergence from the base LLM that reads the reference transcript, on rows with audio, transcript and
            answer. 0 = off; costs one forward pass of the base LLM.
        on_policy_weight (`float`, *optional*, defaults to `0.0`):
            Weight of on-policy distillation, on the same rows: the student answers the audio, and the base LLM, which reads the reference transcript,
            scores each token of that answer by the generalised Jensen-Shannon divergence (GKD, arXiv 2306.13649). 0 = off; costs the generation and one
            forward pass of each.
        on_policy_beta (`float`, *optional*, defaults to `0.5`):
            Interpolation of that divergence: 0 = `KL(base LLM || student)`, 1 = `KL(student || base LLM)`.
        on_policy_fraction (`float`, *optional*, defaults to `1.0`):
            Share of the steps with on-policy distillation.
        on_policy_max_new_tokens (`int`, *optional*, defaults to `32`):
            Length limit of the student's answers for on-policy distillation, in tokens.
        on_policy_temperature (`float`, *optional*, defaults to `1.0`):
            Sampling temperature of these answers; 0 = greedy.
        character_ctc_weight (`float`, *optional*, defaults to `0.0`):
            Weight of CTC on the characters of the transcript, by the student's character CTC head on the patch embedding. The student's config
            must have a `character_ctc_alphabet`. 0 = off.
        subword_ctc_weight (`float`, *optional*, defaults to `0.0`):
            Weight of CTC on the transcript's tokens (the LLM's own), by the student's subword CTC head after its first layers. The student's
            config must have a `subword_ctc_layer`. 0 = off.
        text_state_weight (`float`, *optional*, defaults to `0.0`):
            Weight of the distance between the student's state where a token of the transcript is spoken and the base LLM's state at that token, at the
            depth of the subword CTC head. That head aligns tokens and audio, so `subword_ctc_weight` must be above 0. 0 = off; costs
            one forward pass of the base LLM on the transcript.

        > Parameters that control the distillation

        cosine_weight (`float`, *optional*, defaults to `1.0`):
            Weight of the cosine distance.
        mse_weight (`float`, *optional*, defaults to `1.0`):
            Weight of the mean squared error.
        layer_mapping (`str` or `list`, *optional*, defaults to `"uniform"`):
            `"uniform"`, `"shallow"`, `"last"`, or pairs `[[student layer, teacher layer], ...]` (0-based, also as JSON
            text); see [`~distillation.alignment.map_layers`].
        time_alignment (`str`, *optional*, defaults to `"mean"`):
            `"mean"` or `"interpolate"`; see [`~distillation.alignment.pool_teacher_states`].
        teacher_normalization (`str`, *optional*, defaults to `"standardize"`):
            `"standardize"`, `"layer_norm"` or `"none"`; see [`~distillation.heads.DistillationHeads`].
        teacher_cache_dir (`str`, *optional*):
            Folder for the teacher's states, so that each clip is computed only once. No cache by default.

        > Parameters that control the optimisation

        learning_rate (`float`, *optional*, defaults to `2e-4`):
            Learning rate of the LoRA (VoRA's, arXiv 2503.20680). 0 = the LoRA is frozen.
        audio_embedding_learning_rate (`float`, *optional*):
            Learning rate of the audio patch embedding. Defaults to `learning_rate`; 0 = it is frozen.
        heads_learning_rate (`float`, *optional*):
            Learning rate of the distillation heads and the student's CTC heads. Defaults to `learning_rate`.

        > Parameters that control the data

        pad_to_multiple_of (`int`, *optional*):
            Pad rows, clips and the losses' inputs to a multiple of this. CPUs compile matrix products for each shape; without
            padding, batches of ever new lengths cost time and a growing amount of memory.
        random_gain_db (`float`, *optional*, defaults to `10.0`):
            Change the level of each training clip of the student at random, by up to this many decibels.
        context_probability (`float`, *optional*, defaults to `0.0`):
            Share of training rows with text before the audio, drawn from the `context_texts` of [`AuraTrainer`].
        context_max_words (`int`, *optional*, defaults to `50`):
            Most words of such a text.

        > Parameters that control the evaluation

        generation_max_new_tokens (`int`, *optional*, defaults to `128`):
            Length limit of answers in `predict` and for `compute_metrics`, in tokens.
        greater_is_better (`bool`, *optional*):
            As in [`~transformers.TrainingArguments`], but lower is better for error rates (`metric_for_best_model="eval_wer"`, `"eval_cer"`), as
            for losses.

    Attributes:
        sharding ([`Sharding`] or `None`): how the base LLM is sharded, by `fsdp` and `fsdp_config` or by what `accelerate launch` asked for.
        zero ([`Zero`] or `None`): what DeepSpeed divides over the processes, by `deepspeed` or by what `accelerate launch` asked for.

    Example:

    ```python
    >>> args = AuraTrainingArguments("outputs/my-student", max_steps=320, distillation_warmup_steps=100)
    ```
    """

    learning_rate: float = field(default=2e-4, metadata={"help": "Learning rate of the LoRA."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay False: the collator reads the columns of the rows itself."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Must stay False: a training that diverges stops and says so."}
    )
    hub_strategy: str = field(
        default="end",
        metadata={"help": "'end': the student is uploaded when it is saved; 'every_save': with each checkpoint, too."},
    )
    use_cache: bool = field(
        default=True,
        metadata={"help": "What the saved config says of generation; training itself never keeps keys and values."},
    )
    dataloader_pin_memory: bool = field(
        default=False, metadata={"help": "Whether to pin the memory of batches; useful with a GPU and workers."}
    )

    # Parameters that control the supervision
    supervision: Supervision = field(default="both", metadata={"help": "What teaches the student."})
    distillation_warmup_steps: float = field(
        default=0,
        metadata={
            "help": "So many first steps, or below 1 such a share of all, are distillation only (supervision 'both')."
        },
    )
    lm_weight: float = field(default=1.0, metadata={"help": "Weight of the next-token cross-entropy."})
    answer_kl_weight: float = field(
        default=0.0, metadata={"help": "Weight of the KL from the base LLM given the gold transcript."}
    )
    on_policy_weight: float = field(
        default=0.0, metadata={"help": "Weight of distillation on the student's own answers."}
    )
    on_policy_beta: float = field(
        default=0.5,
        metadata={"help": "0 = KL(teacher || student), 1 = KL(student || teacher), between: Jensen-Shannon."},
    )
    on_policy_fraction: float = field(
        default=1.0, metadata={"help": "Share of the steps with the student's own answers."}
    )
    on_policy_max_new_tokens: int = field(default=32, metadata={"help": "Most tokens of such an answer."})
    on_policy_temperature: float = field(
        default=1.0, metadata={"help": "Temperature of sampling such answers; 0 = greedy."}
    )
    character_ctc_weight: float = field(
        default=0.0, metadata={"help": "Weight of the CTC loss on the transcript's characters."}
    )
    subword_ctc_weight: float = field(
        default=0.0, metadata={"help": "Weight of the CTC loss on the LLM's own tokens."}
    )
    text_state_weight: float = field(
        default=0.0, metadata={"help": "Weight of the distance to the base LLM's states for the transcript."}
    )

    # Parameters that control the distillation
    cosine_weight: float = field(default=1.0, metadata={"help": "Weight of the cosine distance."})
    mse_weight: float = field(default=1.0, metadata={"help": "Weight of the mean squared error."})
    layer_mapping: str = field(
        default="uniform",
        metadata={"help": "'uniform', 'shallow', 'last' or pairs [[student layer, teacher layer], ...] as JSON."},
    )
    time_alignment: TimeAlignment = field(
        default="mean", metadata={"help": "How teacher states become one per audio token."}
    )
    teacher_normalization: TeacherNormalization = field(
        default="standardize", metadata={"help": "What is done to teacher states before comparing."}
    )
    teacher_cache_dir: str | None = field(default=None, metadata={"help": "Folder for cached teacher states."})

    # Parameters that control the optimisation
    audio_embedding_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the audio patch embedding; `learning_rate` if not given."}
    )
    heads_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Learning rate of the distillation and CTC heads; `learning_rate` if not given."},
    )

    # Parameters that control the data
    pad_to_multiple_of: int | None = field(
        default=None, metadata={"help": "Pad batches to a multiple of this, so that few shapes occur."}
    )
    random_gain_db: float = field(
        default=10.0, metadata={"help": "Training clips are made louder or softer by up to so many decibels."}
    )
    context_probability: float = field(
        default=0.0, metadata={"help": "Share of training rows with text before the audio."}
    )
    context_max_words: int = field(default=50, metadata={"help": "Most words of such a text."})

    # Parameters that control the evaluation
    generation_max_new_tokens: int = field(
        default=128, metadata={"help": "Most tokens of an answer in an evaluation."}
    )

    def __post_init__(self) -> None:
        check_supported(self)
        self._check_choice("supervision", SUPERVISIONS)
        self._check_choice("time_alignment", TIME_ALIGNMENTS)
        self._check_choice("teacher_normalization", TEACHER_NORMALIZATIONS)
        _parse_layer_mapping(self.layer_mapping)
        weights = (
            "cosine_weight",
            "mse_weight",
            "lm_weight",
            "answer_kl_weight",
            "on_policy_weight",
            "character_ctc_weight",
            "subword_ctc_weight",
            "text_state_weight",
        )
        for name in (*weights, "on_policy_temperature", "random_gain_db", "distillation_warmup_steps"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "at least 0")
        for name in ("context_max_words", "generation_max_new_tokens", "on_policy_max_new_tokens"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("context_probability", "label_smoothing_factor", "on_policy_beta", "on_policy_fraction"):
            self._check(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("audio_embedding_learning_rate", "heads_learning_rate"):
            value = getattr(self, name)
            self._check(name, value is None or 0 <= value < math.inf, "at least 0")
        self._check(
            "pad_to_multiple_of", self.pad_to_multiple_of is None or self.pad_to_multiple_of >= 1, "at least 1"
        )
        if self.distillation_warmup_steps and self.supervision != "both":
            raise ValueError(
                f"`distillation_warmup_steps={self.distillation_warmup_steps}` makes sense with `supervision='both'` only, "
                f"got {self.supervision!r}."
            )
        if self.text_state_weight > 0 and self.subword_ctc_weight == 0:
            raise ValueError(
                f"`text_state_weight={self.text_state_weight}` needs to know where each token is spoken: set `subword_ctc_weight` too."
            )
        # Every trainable parameter takes part in every step, so DDP need not search for unused ones.
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False
        metric = self.metric_for_best_model
        if self.greater_is_better is None and metric is not None and metric.rpartition("_")[2] in ERROR_RATES:
            self.greater_is_better = False  # stock transformers takes all that is no loss for better the higher it is
        self.sharding: Sharding | None = asked_sharding(self)
        fsdp, deepspeed = self.fsdp, self.deepspeed
        self.fsdp = self.deepspeed = None  # stock transformers would hand them to accelerate
        with hidden_from_accelerate():
            super().__post_init__()
        self.fsdp, self.deepspeed = fsdp, deepspeed
        check_processes(self)
        self.zero: Zero | None = asked_zero(self)
        if self.zero is not None and self.sharding is not None:
            raise ValueError("Both FSDP and DeepSpeed were asked for: use one of them.")
        if self.zero is not None and self.zero.stage == 3:
            self.sharding = sharding_of({})
        for name in ("learning_rate", "weight_decay", "dataloader_num_workers"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "at least 0")
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "data_seed"):
            value = getattr(self, name)
            self._check(name, value is None or 0 <= value < 2**32, "between 0 and 2**32 - 1")
        self._check("max_steps", self.max_steps != 0, "at least 1, or -1 for whole epochs")
        if self.max_steps < 0:
            self._check("num_train_epochs", 0 < self.num_train_epochs <= 1e9, "above 0 and at most 1e9")
        # Batches hold waveforms, which a main process cannot cut and send to others: every process reads its own rows.
        if self.accelerator_config.dispatch_batches:
            raise ValueError(
                "`dispatch_batches=True` of `accelerator_config` is not supported: every process reads its own rows."
            )
        self.accelerator_config.dispatch_batches = False
        if self.push_to_hub and self.hub_strategy not in ("end", "every_save"):
            raise ValueError(
                f"`hub_strategy={self.hub_strategy!s}` is not supported: it uploads checkpoints, which hold pickles. Use 'end' (`save_model` uploads the "
                "student) or 'every_save' (each checkpoint uploads it, too)."
            )
        if self.fp16 and self.device.type == "cpu":
            raise ValueError("`fp16=True` does nothing on a CPU: use `bf16=True`, or leave it out.")
        if self.train_sampling_strategy not in ("random", "sequential", "group_by_length"):
            raise ValueError(
                f"`train_sampling_strategy={self.train_sampling_strategy!r}` needs token lengths in the dataset, which rows "
                "with audio do not have. Use 'random', 'sequential' or 'group_by_length' (by `seconds`)."
            )

    def get_distillation_warmup_steps(self, num_training_steps: int) -> int:
        """Steps of distillation alone, see `distillation_warmup_steps`.

        Args:
            num_training_steps: all steps of the training.

        Returns:
            how many of them, at the beginning.
        """
        steps = self.distillation_warmup_steps
        return math.ceil(steps if steps >= 1 else steps * num_training_steps)

    @property
    def parsed_layer_mapping(self) -> LayerMapping:
        """`layer_mapping`, pairs as a list of tuples."""
        return _parse_layer_mapping(self.layer_mapping)

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"`{name}={value!r}` is not known; use one of {', '.join(choices)}.")

    def _check(self, name: str, is_valid: bool, requirement: str) -> None:
        if not is_valid:
            raise ValueError(f"`{name}` must be {requirement}, got {getattr(self, name)!r}.")


def _parse_layer_mapping(value: Any) -> LayerMapping:
    """A name as it is; pairs, or pairs as JSON text, as a list of tuples."""
    if isinstance(value, str):
        if value in LAYER_MAPPINGS:
            return cast(LayerMapping, value)
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, (list, tuple)) or not all(isinstance(pair, (list, tuple)) for pair in value):
        raise ValueError(
            f"`layer_mapping` must be one of {', '.join(LAYER_MAPPINGS)} or a list of [student layer, teacher layer] pairs, "
            f"got {value!r}."
        )
    return [tuple(pair) for pair in value]
