"""Time to the first answer token: the student against the cascade of Whisper and the same LLM, on the same clips, in one process.

    python demo/latency.py STUDENT WHISPER LLM CLIPS.json OUT.json

Every clip goes through all systems one after the other, in an order that changes from clip to clip, after a first round that does not count. OUT.json becomes
`{system: [seconds of each clip]}`. From samples in memory to the first token, features included; both chats have the student's template.
LLM is also the student's base.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    student_folder, whisper_folder, llm_folder, clips, out = sys.argv[1:]
    import torch
    import transformers
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoProcessor,
        AutoTokenizer,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    from transformers_aura import build_conversation, load_audio

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    student = AutoModel.from_pretrained(student_folder, base_model_name_or_path=llm_folder).eval()
    systems = {"student": student, "student, merged": student.merge().eval()}
    processor = AutoProcessor.from_pretrained(student_folder)
    whisper = WhisperForConditionalGeneration.from_pretrained(whisper_folder).eval()
    whisper_processor = WhisperProcessor.from_pretrained(whisper_folder)
    llm = AutoModelForCausalLM.from_pretrained(llm_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(llm_folder, chat_template=processor.chat_template)

    def ask_student(model, samples) -> None:
        chat = build_conversation(audio={"array": samples, "sampling_rate": 16000})
        inputs = processor.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        model.generate(**inputs, max_new_tokens=1, do_sample=False)

    def ask_cascade(samples) -> None:
        features = whisper_processor(samples, sampling_rate=16000, return_tensors="pt").input_features
        tokens = whisper.generate(features, do_sample=False, max_length=60)
        text = whisper_processor.decode(tokens[0], skip_special_tokens=True)
        chat = [{"role": "user", "content": text.strip()}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        llm.generate(**inputs, max_new_tokens=1, do_sample=False)

    runs = {name: lambda samples, model=model: ask_student(model, samples) for name, model in systems.items()}
    runs["Whisper tiny.en + LLM"] = ask_cascade
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    waveforms = [load_audio(path) for path in json.loads(Path(clips).read_text())]
    with torch.no_grad():
        for number, samples in enumerate([waveforms[0], *waveforms]):
            order = list(runs)[number % len(runs) :] + list(runs)[: number % len(runs)]
            for name in order:
                start = time.perf_counter()
                runs[name](samples)
                if number > 0:
                    seconds[name].append(time.perf_counter() - start)
    Path(out).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
