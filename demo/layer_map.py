"""How much of each teacher layer can be predicted from each student layer.

    python demo/layer_map.py STUDENT WHISPER CLIPS.json OUT.json

For every pair of layers a ridge regression from the student's states at the audio positions to the teacher's (standardised, pooled to audio tokens) is
fitted on two thirds of the clips; the cosine of its predictions on the rest is the entry of the map. It needs no trained head, so it says
the same of an untrained student. OUT.json becomes `{"cosines": [[one entry a teacher layer] for each student layer]}`.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    student_folder, whisper_folder, clips, out = sys.argv[1:]
    import torch
    import transformers
    from transformers import AutoModel, AutoProcessor

    from transformers_aura import AuraTeacher, build_conversation, load_audio
    from transformers_aura.distillation.targets import TeacherTargets

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = AutoModel.from_pretrained(student_folder).eval()
    processor = AutoProcessor.from_pretrained(student_folder)
    teacher = AuraTeacher.from_pretrained(whisper_folder, pad_to_seconds=5)
    targets = TeacherTargets(teacher, range(teacher.num_layers), model.config.audio_config.frames_per_token)
    waveforms = [load_audio(path) for path in json.loads(Path(clips).read_text())]
    student_states, teacher_states, clip_of_token = [], [], []
    with torch.no_grad():
        for number, samples in enumerate(waveforms):
            inputs = processor.apply_chat_template(
                build_conversation(audio={"array": samples, "sampling_rate": 16000}),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            is_audio = inputs["input_ids"][0] == model.config.audio_token_id
            states = model(**inputs, output_hidden_states=True).hidden_states[1:]
            student_states.append(torch.stack([layer[0, is_audio] for layer in states]))
            teacher_states.append(targets([samples]))
            clip_of_token += [number] * int(is_audio.sum())
    student, taught = torch.cat(student_states, dim=1).double(), torch.cat(teacher_states, dim=1).double()
    fitted = torch.tensor(clip_of_token) % 3 != 2

    def standardised(states: torch.Tensor) -> torch.Tensor:
        mean, deviation = states[:, fitted].mean(1, keepdim=True), states[:, fitted].std(1, keepdim=True)
        return (states - mean) / deviation.clamp(min=1e-3 * deviation.mean())

    student, taught = standardised(student), standardised(taught)
    cosines = []
    for layer in student:
        gram = layer[fitted].T @ layer[fitted]
        gram += 0.1 * fitted.sum() * torch.eye(len(gram), dtype=gram.dtype)
        factor = torch.linalg.cholesky(gram)
        row = []
        for target in taught:
            weights = torch.cholesky_solve(layer[fitted].T @ target[fitted], factor)
            predicted = layer[~fitted] @ weights
            row.append(float(torch.cosine_similarity(predicted, target[~fitted], dim=-1).mean()))
        cosines.append(row)
    Path(out).write_text(json.dumps({"cosines": cosines}))


if __name__ == "__main__":
    main()
