"""Waveform to log-mel frames, for a whole clip or for a stream: the two give the same numbers."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank
from transformers.utils import logging

from ..auto_map import auto_map, loads_by_itself
from .arguments import one_of, real_number, whole_number
from .audio_errors import AudioLoadingError
from .audio_limits import SAMPLING_RATE_LIMITS_HZ, check_sampling_rate
from .audio_loading import load_audio
from .audio_samples import to_mono_float32
from .audio_source import AudioSource, describe_audio, has_own_sampling_rate, is_samples_list


logger = logging.get_logger(__name__)

_LEVEL_DRIFT_DB_PER_SECOND = (
    5.0  # how fast loudest and softest sound are forgotten: a pause between words changes little
)
_NOISE_BELOW_TARGET_DB = 25.0  # what sounds all the time is not raised to more than this below the target level
_SILENCE = 1e-10  # what is below (-100 dB) is digital silence: it says nothing about the noise where somebody speaks
_MAX_FRAMES = 1_000_000  # that padding may ask for: nearly three hours
_FRAMES_PER_PASS = 512  # bounds the memory of one pass (1.6 MB of windows, which a processor's cache holds)
_MEL_BINS_PER_BAND = 16  # a band of neighbouring mel bins sees few frequencies: its product leaves the others out


@loads_by_itself
class AuraFeatureExtractor(SequenceFeatureExtractor):
    r"""
    Log-mel features that are causal and normalised per frame, so that a stream gives what the whole clip gives.

    Frame `t` sees the `n_fft` samples that end at sample `(t + 1) * hop_length`; before the clip there is silence, and
    the last frame is filled with silence, hence `ceil(n_samples / hop_length)` frames. Its value is
    `(log10(max(mel, mel_floor)) + 4) / 4`: Whisper's mel filters and scale (OpenAI's Whisper, `log_mel_spectrogram`)
    with a fixed floor instead of one that depends on the clip's maximum. Clips keep their true length: nothing is padded
    to 30 s, nothing is cut unless `truncate_to_seconds` says so.

    Quiet recordings are made louder by a running gain, which knows only what came before. The level is that of the loudest
    frame so far, less 5 dB for each second since then; where it is below `target_level_db`, the gain makes up the difference,
    before the floor. So the gain falls at once when somebody speaks up, and grows slowly when it is quiet. Noise is not raised
    to the level of speech: the softest frame so far, plus 5 dB for each second since then, stays 25 dB below the target.
    Nothing is made softer: what is louder than the target stays bit for bit what it was.

    Args:
        feature_size (`int`, defaults to 80): mel bins of a frame (80 or 128 in the Whisper family).
        sampling_rate (`int`, defaults to 16000): sampling rate of the waveforms in hertz.
        hop_length (`int`, defaults to 160): samples between two frames; at 16 kHz this is 10 ms.
        n_fft (`int`, defaults to 400): samples a frame sees; at 16 kHz these are 25 ms.
        mel_floor (`float`, defaults to 1e-8): smallest mel energy; digital silence gets this one.
        target_level_db (`float`, defaults to -25): level in decibels that quiet sounds are raised to. 0 dB are the mean mel
            energy of white noise with an RMS of 1. Speech that peaks at 40 % of full scale has its loudest frames at about -11 dB.
        max_gain_db (`float`, defaults to 30): largest gain in decibels; 0 turns the level control off.

    Raises:
        TypeError, ValueError: a setting of a wrong type, or one that cannot be (NaN, a window beyond a second, mel bins that see nothing).
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16_000,
        hop_length: int = 160,
        n_fft: int = 400,
        mel_floor: float = 1e-8,
        target_level_db: float = -25.0,
        max_gain_db: float = 30.0,
        **kwargs: Any,
    ) -> None:
        feature_size = whole_number("feature_size", feature_size)
        sampling_rate = whole_number("sampling_rate", sampling_rate, *SAMPLING_RATE_LIMITS_HZ)
        hop_length = whole_number("hop_length", hop_length, at_most=sampling_rate)
        n_fft = whole_number("n_fft", n_fft, at_least=hop_length, at_most=sampling_rate)
        mel_floor = real_number("mel_floor", mel_floor, above=0, at_most=1)
        target_level_db = real_number("target_level_db", target_level_db, at_least=-200, at_most=100)
        max_gain_db = real_number("max_gain_db", max_gain_db, at_least=0, at_most=200)
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.mel_floor = mel_floor
        self.target_level_db = target_level_db
        self.max_gain_db = max_gain_db
        kwargs.pop("padding_value", None)  # a saved configuration holds it, but it follows from the floor
        kwargs.pop("padding_side", None)
        kwargs.pop("auto_map", None)
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=(math.log10(mel_floor) + 4) / 4,
            padding_side="right",
            **kwargs,
        )
        # `to_dict` leaves out attributes of these two names: they follow from the settings.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of filters that see nothing, which are an error here
            self.mel_filters = mel_filter_bank(
                num_frequency_bins=1 + n_fft // 2,
                num_mel_filters=feature_size,
                min_frequency=0.0,
                max_frequency=sampling_rate / 2,
                sampling_rate=sampling_rate,
                norm="slaney",
                mel_scale="slaney",
            )
        blind = int((self.mel_filters.max(axis=0) == 0).sum())
        if blind:
            raise ValueError(
                f"{blind} of the {feature_size} mel bins (`feature_size`) lie between the {1 + n_fft // 2} frequencies that `n_fft={n_fft}` "
                "tells apart: take fewer bins or a larger `n_fft`."
            )
        self.window = torch.hann_window(n_fft, dtype=torch.float64).numpy()
        self._mel_bands = _mel_bands(self.mel_filters)

    def to_dict(self) -> dict[str, Any]:
        """The settings, and the `auto_map` by which they load by themselves; what follows from them is left out."""
        settings = super().to_dict()
        del settings["_mel_bands"]
        return {**settings, "auto_map": auto_map("AutoFeatureExtractor")}

    @property
    def frames_per_second(self) -> float:
        """Frames a second: 100 with the default settings."""
        return self.sampling_rate / self.hop_length

    def num_frames(self, num_samples: int) -> int:
        """Frames of a clip.

        Args:
            num_samples: its samples, at `sampling_rate`.

        Returns:
            `ceil(num_samples / hop_length)`.

        Example:
            >>> AuraFeatureExtractor().num_frames(16_001)  # a second and one sample
            101
        """
        return -(-num_samples // self.hop_length)

    def __call__(
        self,
        audio: AudioSource | Sequence[AudioSource],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        truncate_to_seconds: float | None = None,
        return_tensors: str | None = None,
        *,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> BatchFeature:
        """Features of one clip or of several.

        Args:
            audio: one clip or a list of clips, each a 1-D array, tensor or list of samples (see
                [`~transformers_aura.load_audio`] for scales), at the extractor's `sampling_rate`. Other rates, channels,
                files and URLs are the matter of [`AuraProcessor`] or [`~transformers_aura.load_audio`].
            sampling_rate (`int`, *optional*): rate of the clips in hertz, which should be given, so that no wrong rate goes unnoticed. Without it, it is taken
                to be the extractor's, with a warning.
            padding (`bool` or `str`, defaults to `True`): pad all clips to the longest, on the right, with the value of silence
                (`"max_length"`: to `max_length` frames). If `False` the result holds lists of arrays, see [`~AuraFeatureExtractor.pad`].
            truncate_to_seconds (`float`, *optional*): cut longer clips. By default nothing is cut.
            return_tensors (`str`, *optional*): `"pt"` for torch, `"np"` or nothing for numpy.
            max_length, pad_to_multiple_of (`int`, *optional*): how many frames padded clips have; longer ones are never cut to that.

        Returns:
            `BatchFeature` with `input_features`, float32 of shape `(num_audios, num_frames, feature_size)`, and
            `input_features_mask`, bool of shape `(num_audios, num_frames)`, `True` = a frame of the clip.

        Raises:
            AudioLoadingError: another `sampling_rate`, or samples that [`~transformers_aura.load_audio`] refuses.
        """
        clips = list(audio) if isinstance(audio, (list, tuple)) and not is_samples_list(audio) else [audio]
        if not clips:
            raise AudioLoadingError("No audio was given: the list of clips is empty.")
        one_of("padding", padding, (True, False, "longest", "max_length", "do_not_pad"))
        one_of("return_tensors", return_tensors, (None, "pt", "np", "mlx"))
        for name, value in (("max_length", max_length), ("pad_to_multiple_of", pad_to_multiple_of)):
            if value is not None:
                whole_number(name, value, at_most=_MAX_FRAMES)
        if sampling_rate is None:
            sampling_rate = self.assumed_sampling_rate()
        sampling_rate = check_sampling_rate(sampling_rate, "`sampling_rate`")
        if sampling_rate != self.sampling_rate:
            raise AudioLoadingError(
                f"The feature extractor takes {self.sampling_rate} Hz, but `sampling_rate={sampling_rate}` was passed. "
                f"Resample first: `load_audio(samples, sampling_rate={sampling_rate})`."
            )
        waveforms = [self._check_clip(clip) for clip in clips]
        if truncate_to_seconds is not None:
            truncate_to_seconds = real_number("truncate_to_seconds", truncate_to_seconds, above=0)
            most_samples = max(1, round(truncate_to_seconds * self.sampling_rate))
            waveforms = [waveform[:most_samples] for waveform in waveforms]
        lengths = [self.num_frames(len(waveform)) for waveform in waveforms]
        if padding in (True, "longest"):
            multiple = pad_to_multiple_of or 1
            longest = -(-max(lengths) // multiple) * multiple
            batch = np.full((len(clips), longest, self.feature_size), self.padding_value, dtype=np.float32)
            for row, waveform, length in zip(batch, waveforms, lengths, strict=True):
                self._write_features(waveform, row[:length])
            mask = np.arange(longest) < np.array(lengths)[:, None]
            return BatchFeature({"input_features": batch, "input_features_mask": mask}, tensor_type=return_tensors)
        clips_by_name = {
            "input_features": [self._features(waveform) for waveform in waveforms],
            "input_features_mask": [np.ones(length, dtype=bool) for length in lengths],
        }
        if padding in (False, "do_not_pad"):
            return BatchFeature(clips_by_name)
        return self.pad(
            clips_by_name,
            padding,
            max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=False,
            return_tensors=return_tensors,
        )

    def pad(
        self,
        processed_features: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """One batch of features that were made with `padding=False`, as in [`SequenceFeatureExtractor`].

        Args:
            processed_features: lists by name, or a list of clips, each with its features by name. Without `input_features_mask`, every
                frame that is there is one of its clip.

        Returns:
            `BatchFeature` with `input_features` and `input_features_mask`, see [`~AuraFeatureExtractor.__call__`].
        """
        if not isinstance(processed_features, Mapping):
            names = processed_features[0].keys()
            processed_features = {name: [clip[name] for clip in processed_features] for name in names}
        columns = dict(processed_features)
        masks = columns.pop("input_features_mask", None)
        if masks is None:
            masks = [np.ones(len(frames), dtype=bool) for frames in columns["input_features"]]
        batch = super().pad(
            BatchFeature(columns),
            padding,
            max_length,
            truncation,
            pad_to_multiple_of,
            return_attention_mask,
            return_tensors,
        )
        frames_of_clips = batch["input_features"]
        rows = [
            np.pad(np.asarray(mask, dtype=bool)[: len(frames)], (0, max(0, len(frames) - len(mask))))
            for mask, frames in zip(masks, frames_of_clips, strict=True)
        ]
        are_one_length = len({len(row) for row in rows}) == 1
        batch["input_features_mask"] = np.stack(rows) if are_one_length else rows
        if isinstance(frames_of_clips, torch.Tensor):
            batch["input_features_mask"] = torch.from_numpy(batch["input_features_mask"])
        return batch

    def assumed_sampling_rate(self) -> int:
        """The rate of samples that came without one, with one warning for all of them.

        Returns:
            the extractor's rate, in hertz.
        """
        logger.warning_once(
            f"Samples came without a sampling rate, and are taken to be at {self.sampling_rate} Hz. Pass `sampling_rate=` "
            '(in hertz), or {"array": ..., "sampling_rate": ...}, so that no wrong rate goes unnoticed.'
        )
        return self.sampling_rate

    def stream(self) -> "AuraFeatureStream":
        """For samples that come in chunks.

        Returns:
            a new stream: push samples as they come, get the frames that are complete.
        """
        return AuraFeatureStream(self)

    def fetch_audio(self, audio_url_or_urls: Any, sampling_rate: int | None = None) -> Any:
        """Load what names audio (paths, URLs, bytes) for callers such as the `any-to-any` pipeline.

        Unlike the stock method it keeps the rate beside the samples: `{"array": ..., "sampling_rate": ...}`. Plain
        samples, whose rate is not known here, come back as they are.
        """
        if isinstance(audio_url_or_urls, (list, tuple)) and not is_samples_list(audio_url_or_urls):
            return [self.fetch_audio(item, sampling_rate=sampling_rate) for item in audio_url_or_urls]
        if not has_own_sampling_rate(audio_url_or_urls):
            return audio_url_or_urls
        target = self.sampling_rate if sampling_rate is None else sampling_rate
        return {"array": load_audio(audio_url_or_urls, target_sampling_rate=target), "sampling_rate": target}

    def _check_clip(self, clip: Any) -> NDArray[np.float32]:
        if not isinstance(clip, (np.ndarray, torch.Tensor)) and not is_samples_list(clip):
            raise AudioLoadingError(
                f"The feature extractor takes samples, not {describe_audio(clip)}: `AuraProcessor` loads audio of every "
                "kind, and so does `load_audio`."
            )
        if isinstance(clip, (np.ndarray, torch.Tensor)) and clip.ndim != 1:
            raise AudioLoadingError(
                f"The feature extractor takes clips of shape (n_samples,), got {tuple(clip.shape)}. Pass several clips "
                "as a list; `load_audio` mixes channels down."
            )
        return to_mono_float32(clip, describe_audio(clip))

    def _features(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of a whole clip, `(n_samples,)` -> `(num_frames, feature_size)`."""
        features = np.empty((self.num_frames(len(waveform)), self.feature_size), dtype=np.float32)
        self._write_features(waveform, features)
        return features

    def _write_features(self, waveform: NDArray[np.float32], features: NDArray[np.float32]) -> None:
        """Features of a whole clip, `(n_samples,)`, into `features`, `(num_frames, feature_size)`."""
        before = self.n_fft - self.hop_length
        samples = np.zeros(before + len(features) * self.hop_length, dtype=np.float32)
        samples[before : before + len(waveform)] = waveform
        self._write_features_of_windows(samples, _LevelControl(self), features)

    def _write_features_of_windows(
        self, samples: NDArray[np.float32], level_control: "_LevelControl", features: NDArray[np.float32]
    ) -> None:
        """Features of all windows of `n_fft` samples, one every `hop_length`, into `features`.

        In double precision up to the end: whatever order the sums are taken in, what is rounded to float32 is the same, and so the numbers
        do not depend on how a clip is divided into batches or chunks.
        """
        window = torch.from_numpy(self.window)
        overlap = self.n_fft - self.hop_length
        for first in range(0, len(features), _FRAMES_PER_PASS):
            frames = features[first : first + _FRAMES_PER_PASS]
            start = first * self.hop_length
            part = torch.from_numpy(samples[start : start + overlap + len(frames) * self.hop_length]).double()
            spectrum = torch.fft.rfft(part.unfold(0, self.n_fft, self.hop_length) * window)
            squares = torch.view_as_real(spectrum).square_()
            mel = level_control.apply(self._mel_energies((squares[..., 0] + squares[..., 1]).numpy()))
            np.log10(np.maximum(mel, self.mel_floor, out=mel), out=mel)
            mel += 4.0
            np.divide(mel, 4.0, out=frames, casting="same_kind")

    def _mel_energies(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """`power @ mel_filters`, `(frames, frequencies)` -> `(frames, feature_size)`."""
        mel = np.empty((len(power), self.feature_size))
        for bins, frequencies, filters in self._mel_bands:
            np.matmul(power[:, frequencies], filters, out=mel[:, bins])
        return mel


def _mel_bands(mel_filters: NDArray[np.float64]) -> list[tuple[slice, slice, NDArray[np.float64]]]:
    """Neighbouring mel bins, the frequencies that they see, and their filters `(frequencies, bins)`, which are 0 elsewhere."""
    bands = []
    for first in range(0, mel_filters.shape[1], _MEL_BINS_PER_BAND):
        bins = slice(first, first + _MEL_BINS_PER_BAND)
        seen = np.flatnonzero(mel_filters[:, bins].sum(axis=1))
        frequencies = slice(int(seen[0]), int(seen[-1]) + 1)
        bands.append((bins, frequencies, np.ascontiguousarray(mel_filters[frequencies, bins])))
    return bands


class _LevelControl:
    """The running gain of one clip or stream: remembers its level from pass to pass."""

    def __init__(self, extractor: AuraFeatureExtractor) -> None:
        self._extractor = extractor
        # Mean mel energy of white noise with an RMS of 1, which is at 0 dB.
        full_scale = np.square(extractor.window).sum() * extractor.mel_filters.sum(axis=0).mean()
        self._bin_weights = np.full(extractor.feature_size, 1 / (extractor.feature_size * full_scale))
        self._num_frames = 0
        self._loudest, self._softest = -math.inf, math.inf

    def apply(self, mel: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mel energies of the next frames, `(frames, feature_size)`, times the gain of each, in place."""
        extractor = self._extractor
        if extractor.max_gain_db == 0:
            return mel
        level = mel @ self._bin_weights
        is_silent = level <= _SILENCE
        level_db = 10 * np.log10(np.maximum(level, _SILENCE))
        # A maximum that falls steadily is one that stays, once each frame is raised by what falls until then; so for the minimum.
        frames = np.arange(self._num_frames, self._num_frames + len(mel))
        drift_db = frames * (_LEVEL_DRIFT_DB_PER_SECOND / extractor.frames_per_second)
        loudest = np.maximum.accumulate(level_db + drift_db)
        np.maximum(loudest, self._loudest, out=loudest)
        noise = level_db - drift_db
        noise[is_silent] = math.inf
        # The first windows hold silence from before the clip.
        noise[: max(0, math.ceil(extractor.n_fft / extractor.hop_length - 1) - self._num_frames)] = math.inf
        softest = np.minimum.accumulate(noise)
        np.minimum(softest, self._softest, out=softest)
        self._num_frames += len(mel)
        self._loudest, self._softest = loudest[-1], softest[-1]
        for_speech_db = extractor.target_level_db - (loudest - drift_db)
        for_noise_db = extractor.target_level_db - _NOISE_BELOW_TARGET_DB - (softest + drift_db)
        gain_db = np.minimum(for_speech_db, for_noise_db).clip(0.0, extractor.max_gain_db)
        if gain_db.any():
            mel *= (10.0 ** (gain_db / 10))[:, None]
        return mel


class AuraFeatureStream:
    """Features of speech that arrives in chunks; made by [`AuraFeatureExtractor.stream`].

    All frames of [`~AuraFeatureStream.push`] and [`~AuraFeatureStream.finish`] together are the features of the whole
    clip. A frame comes out as soon as its last sample is in.

    Example:

    ```python
    stream = AuraFeatureExtractor().stream()
    for chunk in microphone:  # samples at 16 kHz, any length
        frames = stream.push(chunk)  # (num_new_frames, 80)
    frames = stream.finish()  # the last, partly filled frame, if there is one
    ```
    """

    def __init__(self, feature_extractor: AuraFeatureExtractor) -> None:
        self._feature_extractor = feature_extractor
        self._pending = np.zeros(feature_extractor.n_fft - feature_extractor.hop_length, dtype=np.float32)
        self._level_control = _LevelControl(feature_extractor)
        self._finished = False
        self.num_samples = 0
        """Samples pushed so far."""
        self.num_frames = 0
        """Frames returned so far."""

    def push(self, samples: np.ndarray | torch.Tensor | Sequence[float]) -> NDArray[np.float32]:
        """Add samples, get the frames that they complete.

        Args:
            samples: shape `(n_samples,)`, mono, at the extractor's rate; any number of them, also none.

        Returns:
            `np.ndarray` of shape `(num_new_frames, feature_size)`, float32; possibly 0 frames.

        Raises:
            AudioLoadingError: samples that [`~transformers_aura.load_audio`] refuses.
            RuntimeError: the stream is finished.
        """
        if self._finished:
            raise RuntimeError("This stream is finished: make a new one with `feature_extractor.stream()`.")
        chunk = to_mono_float32(samples, "the chunk of the stream", allow_empty=True)
        self.num_samples += len(chunk)
        self._pending = np.concatenate([self._pending, chunk])
        return self._complete_frames()

    def finish(self) -> NDArray[np.float32]:
        """End the stream, get the last frame if samples are left for one: `(0 or 1, feature_size)`, float32."""
        if self._finished:
            raise RuntimeError("This stream is finished: make a new one with `feature_extractor.stream()`.")
        self._finished = True
        missing = -self.num_samples % self._feature_extractor.hop_length
        self._pending = np.concatenate([self._pending, np.zeros(missing, dtype=np.float32)])
        return self._complete_frames()

    def _complete_frames(self) -> NDArray[np.float32]:
        extractor = self._feature_extractor
        overlap = extractor.n_fft - extractor.hop_length
        num_new = (len(self._pending) - overlap) // extractor.hop_length
        if num_new == 0:
            return np.empty((0, extractor.feature_size), dtype=np.float32)
        used = num_new * extractor.hop_length
        frames = np.empty((num_new, extractor.feature_size), dtype=np.float32)
        extractor._write_features_of_windows(self._pending[: overlap + used], self._level_control, frames)
        self._pending = self._pending[used:]
        self.num_frames += num_new
        return frames
