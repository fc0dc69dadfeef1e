"""The teacher's states of all training clips, computed ahead: `aura cache-teacher`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..hub_access import explained
from ..processing.processing_aura import AuraProcessor
from .alignment import map_layers
from .objectives import default_objectives
from .plan import plan_training
from .recipe import Recipe, RecipeError
from .recipe_auto import with_model_values, with_teacher_padding
from .recipe_run import load_training_rows
from .recipe_student import build_processor
from .streams.mixture import StreamedRows
from .targets import TeacherTargets
from .teacher import AuraTeacher
from .training_args import AuraTrainingArguments


@dataclass
class CachingSummary:
    """What was done.

    Attributes:
        num_clips: whose states are in the cache now.
        num_computed: of these, computed now.
        seconds: of audio.
        num_bytes: of states that were written.
        unreadable: why recordings could not be read, one text each.
    """

    num_clips: int = 0
    num_computed: int = 0
    seconds: float = 0.0
    num_bytes: int = 0
    unreadable: list[str] = field(default_factory=list)


def cache_teacher_states(
    recipe: Recipe,
    arguments: AuraTrainingArguments,
    part: int = 0,
    num_parts: int = 1,
    on_clip: Callable[[], None] = lambda: None,
) -> CachingSummary:
    """
    Compute the teacher's states of a recipe's training clips into its cache; those that are there undamaged are left as they are.

    Args:
        recipe: what will be trained; nothing of its student is loaded.
        arguments: of that recipe, with `teacher_cache_dir`.
        part, num_parts: the clips of this run, of so many runs (0 is the first).
        on_clip: called behind each clip.

    Raises:
        RecipeError: nothing needs a teacher, no cache is named, or a source cannot be read.
        OSError: the cache cannot be written.
    """
    if arguments.teacher_cache_dir is None:
        raise RecipeError(
            "the recipe names no cache. Add --set losses.teacher_cache_dir=FOLDER, for the training, too."
        )
    if not any(objective.needs_teacher for objective in default_objectives(arguments).values()):
        raise RecipeError("nothing in this recipe learns from the teacher's states, so there is nothing to keep.")
    rows = load_training_rows(_each_clip_once(recipe), arguments)
    # As the training does: these decide what the states are. The student's heads have no part in them.
    headless = dataclasses.replace(recipe.model, character_ctc_alphabet=None, subword_ctc_layer=None)
    recipe = with_teacher_padding(with_model_values(dataclasses.replace(recipe, model=headless)), rows)
    with explained(recipe.model.source, {"revision": recipe.model.revision}):
        config = plan_training(recipe, arguments).student.config
        processor = build_processor(recipe, config)
    load_teacher = AuraTeacher.from_random if recipe.teacher.random else AuraTeacher.from_pretrained
    settings = recipe.teacher.teacher_settings()
    with explained(recipe.teacher.model, settings):
        teacher = load_teacher(recipe.teacher.model, **settings).to(arguments.device)
    pairs = map_layers(
        arguments.parsed_layer_mapping,
        num_student_layers=config.lora_num_layers,
        num_teacher_layers=teacher.num_layers,
        num_decoder_layers=config.text_config.num_hidden_layers,
    )
    layers = sorted({teacher_layer for _, teacher_layer in pairs})
    targets = TeacherTargets(
        teacher, layers, config.audio_config.frames_per_token, arguments.time_alignment, arguments.teacher_cache_dir
    )
    clips = DataLoader(
        _Clips(rows, processor, part, num_parts, max(arguments.dataloader_num_workers, 1)),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=arguments.dataloader_num_workers,
        prefetch_factor=arguments.dataloader_prefetch_factor,
    )
    return _cache(clips, targets, arguments.per_device_train_batch_size, on_clip)


def _each_clip_once(recipe: Recipe) -> Recipe:
    sources = [
        dataclasses.replace(source, repeat=min(source.repeat, 1.0), weight=None) for source in recipe.data.train
    ]
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, train=sources, shuffle_buffer=1))


def _cache(
    clips: Iterator[Any] | DataLoader, targets: TeacherTargets, batch_size: int, on_clip: Callable[[], None]
) -> CachingSummary:
    summary = CachingSummary()
    assert targets.cache is not None
    waiting = iter(clips)
    with targets.cache.writing_packs() as writer:
        while batch := list(islice(waiting, batch_size)):
            waveforms: list[np.ndarray] = []
            for clip in batch:
                if isinstance(clip, str):
                    summary.unreadable.append(clip)
                else:
                    waveforms.append(clip)
                    summary.seconds += len(clip) / targets.teacher.feature_extractor.sampling_rate
                on_clip()
            targets(waveforms)
            summary.num_clips += len(waveforms)
        writer.flush()
        summary.num_computed, summary.num_bytes = writer.num_clips, writer.num_bytes
    return summary


class _Clips(IterableDataset):
    """The recordings of some rows as waveforms; of one that cannot be read, why."""

    def __init__(self, rows: Any, processor: AuraProcessor, part: int, num_parts: int, num_workers: int) -> None:
        self.rows, self.processor = rows, processor
        self.part, self.num_parts, self.num_workers = part, num_parts, num_workers

    def __iter__(self) -> Iterator[np.ndarray | str]:
        info = get_worker_info()
        reader = self.part + self.num_parts * (0 if info is None else info.id)
        for row, where in self._rows(reader, self.num_parts * self.num_workers):
            if row.get("audio") is None:
                continue
            try:
                yield self.processor.load_audio(row["audio"])
            except (ValueError, OSError) as error:
                yield f"{where}: {error}"

    def _rows(self, reader: int, num_readers: int) -> Iterator[tuple[dict[str, Any], str]]:
        if isinstance(self.rows, StreamedRows):
            for row, where, _ in self.rows.read(0, reader, num_readers):
                yield row, where
            return
        for number in range(reader, len(self.rows), num_readers):
            yield self.rows[number], f"row {number}"


def _as_it_is(clip: Any) -> Any:
    return clip
