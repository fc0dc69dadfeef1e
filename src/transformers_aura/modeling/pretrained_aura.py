"""What both classes of a student share: new weights, LoRA put in, loading together with the base LLM, and saving without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME

from ..repo_files import naming_damaged_files, repo_file
from .adapter import (
    ADAPTER_NAME,
    checkpoint_in_pass,
    inject_lora,
    is_adapter_key,
    is_own_key,
    without_lora_name,
)
from .audio_embedding import AuraAudioEmbedding, CausalConvBlock, KernelConvBlock
from .configuration_aura import AuraConfig
from .ctc_heads import CharacterCTCHead, SubwordCTCHead
from .dtypes import choose_dtype, narrowed
from .loading import load_compact_student, load_full_student
from .merging import merge_into_weights


class AuraPreTrainedModel(PreTrainedModel):
    """What both AuRA classes share: initialisation, and loading an adapter together with its base LLM."""

    config_class = AuraConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _skip_keys_device_placement = ["cache", "past_key_values"]
    _no_split_modules = ["AuraAudioEmbedding"]

    # The shorter format that the weights are stored in, if the loader widened them because the processor is faster so.
    _stored_dtype: torch.dtype | None = None
    _dtype_of_file: torch.dtype | None = None
    _peft_config: dict[str, Any] | None = None

    # What the package adds around a student; `registration` sets all of it.
    locate_student: ClassVar[Callable[[str | os.PathLike], str | os.PathLike]] = staticmethod(lambda name: name)
    """Where the student of this name lies: a hub id or folder."""
    locate_base_model: ClassVar[Callable[[AuraConfig], str | None]] = staticmethod(lambda config: None)
    """Folder that holds the base LLM of this config, `None` = where the config says."""
    before_push: ClassVar[Callable[..., None]] = staticmethod(lambda model, repo_id, *, private, token: None)
    """Called with the student and the hub id before `push_to_hub` uploads."""
    # Parts of a base's checkpoint that a student does without: those of a multimodal model beside its LLM, and heads that predict several tokens.
    _keys_to_ignore_on_load_unexpected = [
        r"(^|\.)(vision_tower|visual|vision_model|multi_modal_projector|audio_tower|mtp)\."
    ]

    open_stream: ClassVar[Callable[..., Any]]
    """Makes an [`AuraStream`] of the student, its processor and the arguments of [`~AuraForSpeechQA.stream`]."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, AuraAudioEmbedding):
            for layer in (module.conv1, module.conv2, module.proj):
                if layer is not None:
                    nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
                    nn.init.zeros_(layer.bias)
            nn.init.ones_(module.norm.weight)
            if module.offset is not None:
                nn.init.zeros_(module.offset)
        elif isinstance(module, KernelConvBlock):
            for layer in (module.value, module.kernel, module.output, module.expand, module.reduce):
                nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            for layer in (module.output, module.reduce):
                layer.weight.mul_(0.1)  # begins near the identity
        elif isinstance(module, CausalConvBlock):
            for layer in (module.depthwise, module.expand):
                nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
                nn.init.zeros_(layer.bias)
            nn.init.normal_(
                module.reduce.weight, std=0.1 * module.reduce.in_features**-0.5
            )  # begins near the identity
            nn.init.zeros_(module.reduce.bias)
            nn.init.ones_(module.norm.weight)
        elif isinstance(module, (SubwordCTCHead, CharacterCTCHead)):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    def _add_lora(self) -> None:
        """Injects LoRA, leaves only what was added to the base trainable, and keeps the base out of what is saved."""
        if self.config.is_compact:  # the loader reads the base LLM's repo, where these cannot be
            self._keys_to_ignore_on_load_missing |= {r"(^|\.)embed_audio\.", r"(^|\.)(subword|character)_ctc_head\."}
        if self.config.lora_rank:
            student = self.audio_language_model
            student.num_lora_layers = inject_lora(student.language_model, self.config)
            output_embeddings = self.get_output_embeddings()
            if output_embeddings is not None:
                output_embeddings.requires_grad_(False)
        if self.config.is_compact:
            self._keys_to_ignore_on_save = {key for key in self.state_dict() if not is_adapter_key(key)}

    @property
    def peft_config(self) -> dict[str, Any]:
        """Settings of the adapters that PEFT put on top of the student, by name; there is no such attribute without any."""
        if self._peft_config is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'peft_config'")
        return self._peft_config

    @peft_config.setter
    def peft_config(self, value: dict[str, Any]) -> None:
        """PEFT sets this when it has added an adapter. That one is trained from here on, and nothing of the student, as it is with any model."""
        if ADAPTER_NAME in value:
            raise ValueError(
                f"A PEFT adapter cannot be called {ADAPTER_NAME!r} on a student: so its own LoRA is called, which is overwritten now. Load the student "
                "again, and give the adapter another name."
            )
        self._peft_config = value
        for name, parameter in self.named_parameters():
            if is_own_key(name):
                parameter.requires_grad_(False)

    @peft_config.deleter
    def peft_config(self) -> None:
        self._peft_config = None

    @property
    def audio_language_model(self) -> Any:
        """The headless model ([`AuraModel`]), whichever class this is."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> nn.Module:
        return self.audio_language_model.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.audio_language_model.language_model.set_input_embeddings(value)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """As in [`PreTrainedModel`], for a student that holds its base LLM.

        Raises:
            ValueError: another size for a compact student, whose base LLM is not saved with it: it could not be loaded again.
        """
        size = self.get_input_embeddings().weight.shape[0]
        stays = new_num_tokens in (None, size) and size % (pad_to_multiple_of or 1) == 0
        if self.config.is_compact and not stays:
            raise ValueError(
                f"The embedding of a compact student keeps its {size} tokens, because its base LLM ({self.config.base_model}) is not saved "
                "with it. Resize the base LLM, save it and make a student of that, or resize a merged student: `student.merge()`."
            )
        return super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Callable[..., Any] = checkpoint, **kwargs: Any
    ) -> None:
        """As in [`PreTrainedModel`]; the recomputation in backward keeps LoRA where the forward pass had it."""
        super()._set_gradient_checkpointing(enable, checkpoint_in_pass(gradient_checkpointing_func), **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        config: AuraConfig | None = None,
        base_model_name_or_path: str | os.PathLike | None = None,
        merge_lora: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Loads a student: the small file of its own repo, and the base LLM from the repo that its config names.

        Takes what [`PreTrainedModel.from_pretrained`] takes (`revision`, `dtype`, `device_map`,
        `quantization_config`, `attn_implementation`, `token`, ...). Without `dtype`, or with `"auto"`, it is the config's, but
        float32 where that runs faster: on a CPU that does not multiply the config's format itself. On a machine with an
        accelerator, say `device_map="cpu"` for that; without it the student may still be moved.

        Args:
            pretrained_model_name_or_path: hub id or folder of the student (compact or merged), or the name of one that
                comes with the package. `None`: the weights are `state_dict`, and `config` is given too; a compact student's base
                LLM is loaded all the same, from where the config says.
            base_model_name_or_path: where to find the base LLM instead of the place that the config names: a hub id, folder
                or `.gguf` file (a local copy, say). It must be the same LLM: its weights are compared with the fingerprint
                that the student carries. Without it, a copy of `make real-models` goes before that place.
            merge_lora: merge LoRA into the LLM's weights, for inference: batches in which every row has audio cost no more than the bare LLM. It is
                the same student. Where LoRA does not act (rows of text, the base LLM's part in transcripts) it is taken away again, at the price that
                it has otherwise, so these are the base LLM but for rounding, not bit for bit. It can be saved as before, and not be trained.
            output_loading_info (`bool`, defaults to `False`): also return what [`PreTrainedModel.from_pretrained`] reports. What a
                merged checkpoint lacks or has too much is then no error, but in that report.

        Raises:
            AdapterMismatchError: a tensor of the adapter is missing, unexpected or of another shape, or the base LLM is
                not the one that the adapter was trained on.
            ValueError: without a name, `config` or `state_dict` is missing; or `merge_lora` is asked for, but the base is quantised or LoRA acts on
                audio positions only.
            DamagedFileError: a file cannot be read, is not what was published, or is a pickle.
            FileNotFoundError: the base LLM is not where it should be, or the Hub cannot be reached.
        """
        if pretrained_model_name_or_path is not None:
            pretrained_model_name_or_path = cls.locate_student(pretrained_model_name_or_path)
            if os.path.isfile(pretrained_model_name_or_path):
                raise NotADirectoryError(
                    f"{pretrained_model_name_or_path} is a file. Pass the folder of a student, or its Hub id."
                )
        elif config is None or kwargs.get("state_dict") is None:
            raise ValueError("Without the name of a student, pass its `config` and its weights as `state_dict`.")
        hub_kwargs: dict[str, Any] = {
            name: kwargs[name]
            for name in ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
            if name in kwargs
        }
        if not isinstance(config, PreTrainedConfig):
            source: Any = config or pretrained_model_name_or_path
            with naming_damaged_files(source, [CONFIG_NAME], is_all_that_is_read=True, **hub_kwargs):
                config = AuraConfig.from_pretrained(source, **hub_kwargs)
            if not os.path.isfile(source):
                repo_file(source, CONFIG_NAME, **hub_kwargs)  # without one, transformers makes up a config of defaults
        stored_dtype = choose_dtype(config, kwargs)
        wants_loading_info = kwargs.pop("output_loading_info", False)
        if kwargs.setdefault("use_safetensors", True) is False:
            raise ValueError(
                "`use_safetensors=False` asks for pickles, which can run any code when they are read: they are never loaded."
            )
        if not config.is_compact:
            if base_model_name_or_path is not None:
                raise ValueError(
                    f"`base_model_name_or_path={str(base_model_name_or_path)!r}` does not apply: {pretrained_model_name_or_path} is a full "
                    "checkpoint that holds its base LLM."
                )
            student, loading_info = load_full_student(
                super().from_pretrained, pretrained_model_name_or_path, config, hub_kwargs, kwargs, wants_loading_info
            )
        else:
            if base_model_name_or_path is None:
                base_model_name_or_path = cls.locate_base_model(config)
            student, loading_info = load_compact_student(
                cls, pretrained_model_name_or_path, config, base_model_name_or_path, hub_kwargs, kwargs
            )
        student._stored_dtype = stored_dtype
        if merge_lora:
            merge_into_weights(student)
        return (student, loading_info) if wants_loading_info else student

    @property
    def dtype(self) -> torch.dtype:
        """Format of the weights; while they are being saved, of those in the file, which `config.json` names."""
        return self._dtype_of_file or super().dtype

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """As in [`PreTrainedModel`]. Of a compact student the adapter is saved, without the base LLM and without what PEFT put on top of it.

        Weights that `from_pretrained` widened to float32 by itself are saved in the format that they came in, if that changes none of their values;
        weights that were trained since are saved as they are.

        Raises:
            ValueError: `max_shard_size` is smaller than the adapter of a compact student, which is one file.
        """
        narrow = None
        # An adapter that `load_adapter` put on top is saved alone, as PEFT does it.
        if state_dict is None and not getattr(self, "_hf_peft_config_loaded", False):
            weights = self.state_dict()
            if self.config.is_compact:
                weights = {without_lora_name(key): tensor for key, tensor in weights.items() if is_own_key(key)}
                state_dict = weights
                _check_one_file(weights, kwargs.get("max_shard_size"))
            narrow = None if self._stored_dtype is None else narrowed(weights, self._stored_dtype)
        if narrow is None:
            super().save_pretrained(save_directory, is_main_process, state_dict, **kwargs)
            return
        sections = (self.config, self.config.text_config, self.config.audio_config)
        dtypes = [section.dtype for section in sections]
        try:
            self._dtype_of_file = self._stored_dtype
            for section in sections:
                section.dtype = self._stored_dtype
            super().save_pretrained(save_directory, is_main_process, narrow, **kwargs)
        finally:
            self._dtype_of_file = None
            for section, dtype in zip(sections, dtypes, strict=True):
                section.dtype = dtype

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Does nothing: see [`~auto_map.loads_by_itself`]."""

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """As in [`PreTrainedModel`]; a compact student uploads its adapter only. A repo that has no README.md yet gets the
        model card that fills itself. `aura push` also brings the processor, and checks that others can load the result.
        """
        if not kwargs.get("create_pr"):
            self.before_push(self, repo_id, private=kwargs.get("private"), token=kwargs.get("token"))
        return super().push_to_hub(repo_id, **kwargs)


def _check_one_file(weights: dict[str, torch.Tensor], max_shard_size: int | str | None) -> None:
    if max_shard_size is None:
        return
    split = split_torch_state_dict_into_shards(weights, max_shard_size=max_shard_size)
    if split.is_sharded:
        raise ValueError(
            f"`max_shard_size={max_shard_size!r}` would cut the adapter of a compact student ({split.metadata['total_size']} bytes) into "
            f"{len(split.filename_to_tensors)} files, but it is read as one: leave `max_shard_size` out, or make it larger."
        )


__all__ = ["AuraPreTrainedModel"]
