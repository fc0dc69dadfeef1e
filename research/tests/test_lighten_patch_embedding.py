"""A lighter patch embedding starts from the student's own and comes to say what that says; all else stays, but for LoRA of the layers that are asked for."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from aura_research import lighten_patch_embedding
from aura_research.lighten_patch_embedding import Clips, Comparison, lighter, main, validate
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.distillation.augmentation import WaveformAugmentation


def test_it_comes_to_say_what_the_students_own_says(student_to_lighten: Path, tmp_path: Path) -> None:
    corpus, first, second = (str(tmp_path / name) for name in ("corpus", "first", "second"))
    settings = ["--frames-per-step", "4", "--blocks", "1", "--learning-rate", "3e-3"]
    main([str(student_to_lighten), first, corpus, *settings, "--minutes", "0.1"])
    main([str(student_to_lighten), second, corpus, "--start", first, "--layers", "1", "--minutes", "0.02"])

    teacher = AuraForSpeechQA.from_pretrained(student_to_lighten, dtype="float32")
    taught = AuraForSpeechQA.from_pretrained(first, dtype="float32")
    assert taught.config.audio_config.frames_per_step == 4
    assert len(taught.model.embed_audio.blocks) == 1
    untaught = AuraForSpeechQA.from_pretrained(student_to_lighten, dtype="float32")
    untaught.model.embed_audio, _ = lighter(teacher.model.embed_audio, teacher.config.audio_config, 4, [1])
    processor = AuraProcessor.from_pretrained(student_to_lighten)
    clips = next(Clips(tmp_path / "corpus", "train").batches(WaveformAugmentation(), seed=0))
    before, after = (
        validate(Comparison(teacher, other, processor, layers=0), [clips])["embedding"] for other in (untaught, taught)
    )
    assert after < 0.9 * before

    with_layers = AuraForSpeechQA.from_pretrained(second, dtype="float32")
    losses = validate(Comparison(teacher, with_layers, processor, layers=1), [clips])
    assert losses.keys() == {"embedding", "characters", "states", "subwords"}
    assert min(losses.values()) > 0
    assert validate(Comparison(teacher, teacher, processor, layers=1), [clips]) == dict.fromkeys(losses, 0.0)

    weights = [load_file(Path(folder) / "model.safetensors") for folder in (student_to_lighten, first, second)]
    original, taught_alone, taught_with_layers = ({n: w.float() for n, w in of_one.items()} for of_one in weights)
    others = [name for name in original if "embed_audio." not in name]
    assert all(torch.equal(original[name].bfloat16().float(), taught_alone[name]) for name in others)
    changed = [name for name in others if not torch.equal(taught_alone[name], taught_with_layers[name])]
    assert changed
    assert all(".layers.0." in name and ".lora_" in name for name in changed)


def test_clips_that_are_too_short_are_left_out_and_batches_are_no_longer_than_they_may_be(
    student_to_lighten: Path, tmp_path: Path
) -> None:
    clips = Clips(tmp_path / "corpus", "train")
    assert len(clips.sources) == 12
    for batch in lighten_patch_embedding._batches_of([np.zeros(16000 * n) for n in (1, 2, 3, 30, 40)], 48.0):
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= 48 * 16000
