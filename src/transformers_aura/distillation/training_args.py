"""Arguments of a distillation run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from transformers import TrainingArguments

from .alignment import LAYER_MAPPINGS, TIME_ALIGNMENTS, LayerMapping, TimeAlignment
from .heads import TEACHER_NORMALIZATIONS, TeacherNormalization


Supervision: TypeAlias = Literal["transcript", "distillation", "both"]
SUPERVISIONS: tuple[str, ...] = get_args(Supervision)


@dataclass
class AuraTrainingArguments(TrainingArguments):
    r"""
    Arguments of [`AuraTrainer`], beside those of [`~transformers.TrainingArguments`].

    The loss is the sum of seven terms, each times its weight (`cosine_weight`, `mse_weight`, `lm_weight`, `answer_kl_weight`, `character_ctc_weight`,
    `subword_ctc_weight`, `text_state_weight`). Cosine and MSE are averaged over layer pairs and audio tokens, `lm` and `answer_kl` over answer
    tokens, the others over characters or tokens of the transcripts, each over the whole optimisation step (all micro-batches of all processes).

    Args:
        > Parameters that control the supervision

        supervision (`str`, *optional*, defaults to `"both"`):
            `"transcript"`: language modelling only, no teacher. `"distillation"`: cosine and MSE only, no text needed.
            `"both"`: all (the best in AuRA's ablation).
        distillation_warmup_steps (`int`, *optional*, defaults to `0`):
            With `supervision="both"`: so many first steps are distillation only. They need neither the upper layers nor the
            head, hence are much cheaper.
        lm_weight (`float`, *optional*, defaults to `1.0`):
            Weight of the next-token cross-entropy.
        answer_kl_weight (`float`, *optional*, defaults to `0.0`):
            Weight of the KL divergence from the base LLM that reads the gold transcript, on rows with audio, transcript and
            answer. 0 = off; costs one forward of the base LLM.
        answer_kl_temperature (`float`, *optional*, defaults to `1.0`):
            Softens both distributions.

        > Parameters that control the distillation

        character_ctc_weight (`float`, *optional*, defaults to `0.0`):
            Weight of connectionist temporal classification: characters of the transcript from the states at the audio positions,
            through heads that are dropped after training (but see `keep_subword_ctc_head`). 0 = off.
        character_ctc_layers (`str` or `list`, *optional*, defaults to `"[0]"`):
            Depths whose states tell the characters (also as JSON text): 0 = the patch embedding's output, `n` = the first `n`
            decoder layers.
        subword_ctc_weight (`float`, *optional*, defaults to `0.0`):
            Weight of CTC on the transcript's tokens, those of the LLM itself, told apart by its own embeddings: it turns sounds into
            words before the LLM's upper layers read them. Its head is dropped after training, see `keep_subword_ctc_head`. 0 = off.
        subword_ctc_layer (`int`, *optional*):
            The depth whose states tell the tokens, as for `character_ctc_layers`. Defaults to all layers that carry a LoRA.
        keep_subword_ctc_head (`bool`, *optional*, defaults to `False`):
            The head of CTC on tokens, and that on characters of the patch embedding (depth 0 of `character_ctc_layers`) if there is one, become parts of the
            saved student, which writes transcripts with them, see [`~modeling.generation.HearingGenerationMixin`]. Where transcripts have other letters than a
            to z, leave 0 out of `character_ctc_layers`: a letter head leads the search, and knows no others.
        answers_from_transcript (`bool`, *optional*, defaults to `False`):
            With `keep_subword_ctc_head`: the saved student transcribes a spoken question before it answers it.
        questions_by_ear (`list[str]`, *optional*):
            With `answers_from_transcript`: how those written questions begin that the saved student answers by ear, because the rows teach them;
            what any other is about is transcribed first, and the base LLM answers it from the transcript. All by ear if not given.
        text_state_weight (`float`, *optional*, defaults to `0.0`):
            Weight of the distance between the student's state where a token of the transcript is heard (an alignment by the CTC on
            tokens, hence `subword_ctc_weight` must be above 0) and the base LLM's own state where it reads that token. 0 = off; costs
            one forward of the base LLM on the transcript.
        text_state_layers (`str` or `list`, *optional*):
            Depths of these states (also as JSON text). Defaults to `[subword_ctc_layer]`.
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
        normalization_clips (`int`, *optional*, defaults to `128`):
            Clips at the start of the training data over which `"standardize"` estimates mean and deviation.
        teacher_cache_dir (`str`, *optional*):
            Keep the teacher's states on disk here, so that each clip is heard once. No cache by default.

        > Parameters that control the optimisation

        learning_rate (`float`, *optional*, defaults to `2e-4`):
            Of the LoRA (VoRA's, arXiv 2503.20680). 0 = the LoRA stays as it is.
        audio_embedding_learning_rate (`float`, *optional*):
            Of the audio patch embedding. Defaults to `learning_rate`; 0 = it stays as it is.
        heads_learning_rate (`float`, *optional*):
            Of the distillation heads. Defaults to `learning_rate`.

        > Parameters that control the data

        max_length (`int`, *optional*):
            Longest row in tokens; longer rows are an error, never cut.
        pad_to_multiple_of (`int`, *optional*):
            Pad rows, clips and what the losses see to a multiple of this. CPUs compile their matrix products for each shape: without
            it, batches of ever new lengths cost time, and memory that grows.
        random_gain_db (`float`, *optional*, defaults to `10.0`):
            The student hears each training clip louder or softer by up to so many decibels.
        context_probability (`float`, *optional*, defaults to `0.0`):
            Share of training rows with text before the audio, drawn from the `context_texts` of [`AuraTrainer`].
        context_max_words (`int`, *optional*, defaults to `50`):
            Such a text has 1 to this many words.
    """

    learning_rate: float = field(default=2e-4, metadata={"help": "Learning rate of the LoRA."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay False: the collator reads the columns of the rows itself."}
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
    distillation_warmup_steps: int = field(
        default=0, metadata={"help": "So many first steps are distillation only (supervision 'both')."}
    )
    lm_weight: float = field(default=1.0, metadata={"help": "Weight of the next-token cross-entropy."})
    answer_kl_weight: float = field(
        default=0.0, metadata={"help": "Weight of the KL from the base LLM that reads the gold transcript."}
    )
    answer_kl_temperature: float = field(default=1.0, metadata={"help": "Temperature of the answer KL."})

    # Parameters that control the distillation
    character_ctc_weight: float = field(
        default=0.0, metadata={"help": "Weight of the CTC loss on the transcript's characters."}
    )
    character_ctc_layers: str = field(
        default="[0]", metadata={"help": "Depths whose states tell the characters, as JSON: [0, 12]."}
    )
    subword_ctc_weight: float = field(
        default=0.0, metadata={"help": "Weight of the CTC loss on the LLM's own tokens."}
    )
    subword_ctc_layer: int | None = field(
        default=None, metadata={"help": "Depth whose states tell the tokens; all layers with a LoRA if not given."}
    )
    keep_subword_ctc_head: bool = field(
        default=False, metadata={"help": "The saved student writes transcripts with the head of CTC on tokens."}
    )
    answers_from_transcript: bool = field(
        default=False, metadata={"help": "The saved student transcribes a spoken question before it answers it."}
    )
    questions_by_ear: list[str] | None = field(
        default=None, metadata={"help": "How written questions begin that are answered by ear; all if not given."}
    )
    text_state_weight: float = field(
        default=0.0, metadata={"help": "Weight of the distance to the base LLM's states for the transcript."}
    )
    text_state_layers: str | None = field(
        default=None, metadata={"help": "Depths of these states, as JSON: [12, 18]; subword_ctc_layer if not given."}
    )
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
    normalization_clips: int = field(
        default=128, metadata={"help": "Clips over which 'standardize' estimates mean and deviation."}
    )
    teacher_cache_dir: str | None = field(default=None, metadata={"help": "Folder for cached teacher states."})

    # Parameters that control the optimisation
    audio_embedding_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the audio patch embedding; `learning_rate` if not given."}
    )
    heads_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the distillation heads; `learning_rate` if not given."}
    )

    # Parameters that control the data
    max_length: int | None = field(default=None, metadata={"help": "Longest row in tokens; longer rows are an error."})
    pad_to_multiple_of: int | None = field(
        default=None, metadata={"help": "Pad batches to a multiple of this, so that few shapes occur."}
    )
    random_gain_db: float = field(
        default=10.0, metadata={"help": "Training clips are heard louder or softer by up to so many decibels."}
    )
    context_probability: float = field(
        default=0.0, metadata={"help": "Share of training rows with text before the audio."}
    )
    context_max_words: int = field(default=50, metadata={"help": "Most words of such a text."})

    def __post_init__(self) -> None:
        self._check_choice("supervision", SUPERVISIONS)
        self._check_choice("time_alignment", TIME_ALIGNMENTS)
        self._check_choice("teacher_normalization", TEACHER_NORMALIZATIONS)
        _parse_layer_mapping(self.layer_mapping)
        _parse_depths("character_ctc_layers", self.character_ctc_layers)
        if self.text_state_layers is not None:
            _parse_depths("text_state_layers", self.text_state_layers)
        weights = (
            "lm_weight",
            "answer_kl_weight",
            "cosine_weight",
            "mse_weight",
            "character_ctc_weight",
            "subword_ctc_weight",
        )
        for name in (*weights, "text_state_weight", "random_gain_db", "distillation_warmup_steps"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("normalization_clips", "context_max_words"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("answer_kl_temperature", self.answer_kl_temperature > 0, "above 0")
        self._check("context_probability", 0 <= self.context_probability <= 1, "between 0 and 1")
        for name in ("audio_embedding_learning_rate", "heads_learning_rate"):
            value = getattr(self, name)
            self._check(name, value is None or value >= 0, "at least 0")
        self._check(
            "pad_to_multiple_of", self.pad_to_multiple_of is None or self.pad_to_multiple_of >= 1, "at least 1"
        )
        self._check("max_length", self.max_length is None or self.max_length >= 1, "at least 1")
        if self.distillation_warmup_steps and self.supervision != "both":
            raise ValueError(
                f"`distillation_warmup_steps={self.distillation_warmup_steps}` makes sense with `supervision='both'` only, "
                f"got {self.supervision!r}."
            )
        self._check("subword_ctc_layer", self.subword_ctc_layer is None or self.subword_ctc_layer >= 0, "at least 0")
        if self.text_state_weight > 0 and self.subword_ctc_weight == 0:
            raise ValueError(
                f"`text_state_weight={self.text_state_weight}` needs to know where each token is heard: set `subword_ctc_weight` too."
            )
        if self.keep_subword_ctc_head and not self.uses_subword_ctc:
            raise ValueError("`keep_subword_ctc_head=True` needs a head to keep: set `subword_ctc_weight` above 0.")
        if self.answers_from_transcript and not self.keep_subword_ctc_head:
            raise ValueError(
                "`answers_from_transcript=True` needs transcripts by the token head: set `keep_subword_ctc_head` too."
            )
        if self.questions_by_ear is not None and not (
            isinstance(self.questions_by_ear, list)
            and all(isinstance(question, str) and question.strip() for question in self.questions_by_ear)
        ):
            raise ValueError(
                f"`questions_by_ear` must be a list of texts with which questions begin, none of them empty, got {self.questions_by_ear!r}."
            )
        if self.questions_by_ear is not None and not self.answers_from_transcript:
            raise ValueError(
                f"`questions_by_ear={self.questions_by_ear}`, but without `answers_from_transcript` all are: set that too."
            )
        if not (self.uses_language_modeling or self.uses_distillation or self.uses_ctc or self.uses_subword_ctc):
            raise ValueError(
                f"Nothing is left to learn: with `supervision={self.supervision!r}` all weights of its losses are 0."
            )
        if self.remove_unused_columns:
            raise ValueError(
                "`remove_unused_columns=True` would drop the columns that `AuraDataCollator` reads: leave it at False."
            )
        # Every trainable parameter takes part in every step, so DDP need not search for unused ones.
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False
        # Batches hold waveforms, which a main process cannot cut and send to others: every process reads its own rows.
        if self.accelerator_config is None:
            self.accelerator_config = {"dispatch_batches": False}
        super().__post_init__()
        if self.train_sampling_strategy not in ("random", "sequential", "group_by_length"):
            raise ValueError(
                f"`train_sampling_strategy={self.train_sampling_strategy!r}` needs token lengths in the dataset, which rows "
                "with audio do not have. Use 'random', 'sequential' or 'group_by_length' (by `seconds`)."
            )

    @property
    def parsed_layer_mapping(self) -> LayerMapping:
        """`layer_mapping`, pairs as a list of tuples."""
        return _parse_layer_mapping(self.layer_mapping)

    @property
    def parsed_character_ctc_layers(self) -> list[int]:
        """`character_ctc_layers` as a list."""
        return _parse_depths("character_ctc_layers", self.character_ctc_layers)

    @property
    def parsed_text_state_layers(self) -> list[int] | None:
        """`text_state_layers` as a list, or `None`."""
        return None if self.text_state_layers is None else _parse_depths("text_state_layers", self.text_state_layers)

    @property
    def uses_ctc(self) -> bool:
        """Whether the characters of the transcript are read off the audio positions."""
        return self.supervision != "distillation" and self.character_ctc_weight > 0

    @property
    def uses_subword_ctc(self) -> bool:
        """Whether the tokens of the transcript are read off the audio positions."""
        return self.supervision != "distillation" and self.subword_ctc_weight > 0

    @property
    def uses_text_states(self) -> bool:
        """Whether the base LLM that reads the transcript teaches states."""
        return self.supervision != "distillation" and self.text_state_weight > 0

    @property
    def uses_distillation(self) -> bool:
        """Whether a teacher is needed."""
        return self.supervision != "transcript" and (self.cosine_weight > 0 or self.mse_weight > 0)

    @property
    def uses_answer_kl(self) -> bool:
        """Whether the base LLM teaches the answers."""
        return self.supervision != "distillation" and self.answer_kl_weight > 0

    @property
    def uses_language_modeling(self) -> bool:
        """Whether the head of the LLM is needed: for cross-entropy or for the answer KL."""
        return self.supervision != "distillation" and (self.lm_weight > 0 or self.answer_kl_weight > 0)

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"`{name}={value!r}` is not known; use one of {', '.join(choices)}.")

    def _check(self, name: str, is_valid: bool, requirement: str) -> None:
        if not is_valid:
            raise ValueError(f"`{name}` must be {requirement}, got {getattr(self, name)!r}.")


def _parse_depths(name: str, value: Any) -> list[int]:
    """A list of depths, or one as JSON text."""
    layers = value
    if isinstance(value, str):
        try:
            layers = json.loads(value)
        except json.JSONDecodeError:
            layers = None
    if not isinstance(layers, list) or not layers or not all(type(layer) is int and layer >= 0 for layer in layers):
        raise ValueError(f"`{name}` must be a list of depths such as [0, 12], got {value!r}.")
    return layers


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
