"""What the student's states are compared with: teacher states at the student's rate, without any padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from tqdm.auto import tqdm

from .alignment import TimeAlignment
from .heads import DistillationHeads, TeacherStatistics
from .state_clock import SAMPLES_PER_FRAME
from .teacher import Teacher
from .teacher_cache import TeacherStateCache, fits_float16


STATISTICS_CLIPS = 128
"""Clips at the start of the training data over which mean and deviation of the teacher's states are estimated."""


class TeacherTargets:
    """Teacher states of clips, pooled to audio tokens, from the cache where they are there.

    With a cache every state passes through float16, whether it was there or not, so that a training run does not depend on
    what the cache holds.

    Args:
        teacher: the teacher.
        layers: teacher layers, 0-based, in the order of the result.
        frames_per_token: mel frames (10 ms) of one audio token of the student.
        time_alignment: see `pool_teacher_states`.
        cache_dir: folder of the cache; `None` = no cache.
    """

    def __init__(
        self,
        teacher: Teacher,
        layers: Sequence[int],
        frames_per_token: int,
        time_alignment: TimeAlignment = "mean",
        cache_dir: str | None = None,
    ) -> None:
        self.teacher = teacher
        self.layers = list(layers)
        self.frames_per_token = frames_per_token
        self.time_alignment = time_alignment
        self.cache = None
        if cache_dir is not None:
            self.cache = TeacherStateCache(
                cache_dir,
                teacher=teacher.fingerprint,
                layers=self.layers,
                frames_per_token=frames_per_token,
                time_alignment=time_alignment,
            )

    def __call__(self, waveforms: Sequence[np.ndarray]) -> torch.Tensor:
        """Targets of clips in reading order.

        Args:
            waveforms (`list` of `np.ndarray` of shape `(samples,)`): mono, float32, 16 kHz.

        Returns:
            `torch.FloatTensor` of shape `(layers, audio_tokens, width)`: the audio tokens of all clips, one clip after the
            other, on the teacher's device.
        """
        if not waveforms:
            return torch.zeros(len(self.layers), 0, self.teacher.width, device=self.teacher.device)
        if self.cache is None:
            return self._states(waveforms)[0]
        found = [self.cache.get(waveform) for waveform in waveforms]
        missing = [index for index, states in enumerate(found) if states is None]
        of_clips = {index: states for index, states in enumerate(found) if states is not None}
        if missing:
            states, lengths = self._states([waveforms[index] for index in missing])
            for index, of_clip in zip(missing, states.cpu().split(lengths, dim=1), strict=True):
                of_clips[index] = of_clip
                if fits_float16(of_clip):
                    of_clips[index] = of_clip.half()
                    self.cache.put(waveforms[index], of_clips[index])
        return torch.cat([of_clips[index].float() for index in range(len(waveforms))], dim=1).to(self.teacher.device)

    def _states(self, waveforms: Sequence[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
        """Targets `(layers, audio_tokens, width)` and the audio tokens of each clip."""
        output = self.teacher(waveforms, self.layers)
        num_frames = torch.tensor(
            [-(-len(waveform) // SAMPLES_PER_FRAME) for waveform in waveforms], device=self.teacher.device
        )
        pooled, mask = self.teacher.pool(output, num_frames, self.frames_per_token, self.time_alignment)
        stacked = torch.stack([tokens[mask] for tokens in pooled])
        if not bool(stacked.isfinite().all()):
            raise ValueError(
                f"The teacher's states of these clips are not finite numbers (its dtype is {self.teacher.encoder.dtype}): nothing can be learnt from them. "
                "Encoders overflow in float16: load it in float32 or bfloat16, and check its weights."
            )
        return stacked, mask.sum(dim=1).tolist()


def standardize_targets(
    heads: DistillationHeads,
    targets: TeacherTargets,
    waveforms: Iterable[np.ndarray],
    batch_size: int,
    show_progress: bool = False,
) -> None:
    """Give the heads mean and deviation of the teacher's states, estimated over the first [`STATISTICS_CLIPS`] clips.

    Args:
        heads: that need them.
        targets: of the same teacher layers.
        waveforms: clips, mono, float32, 16 kHz.
        batch_size: clips that the teacher gets at once.
        show_progress: a progress bar.

    Raises:
        ValueError: there is no clip.
    """
    statistics = TeacherStatistics(len(heads.teacher_layers), heads.teacher_width)
    progress = tqdm(
        islice(waveforms, STATISTICS_CLIPS),
        total=STATISTICS_CLIPS,
        desc="Teacher statistics",
        unit="clip",
        disable=not show_progress,
        leave=False,
    )
    clips = iter(progress)
    while batch := list(islice(clips, batch_size)):
        statistics.update(targets(batch))
    if not statistics.count:
        raise ValueError(
            "The training data holds no audio, so there is nothing to distil. Is `audio` None in every row?"
        )
    heads.set_statistics(statistics)
