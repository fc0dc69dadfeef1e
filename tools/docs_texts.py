"""What `tools/docs_pages.py` adds to what the code says: examples of commands, and words on recipes."""

from __future__ import annotations


COMMANDS: dict[str, dict[str, str]] = {
    "": {
        "text": "`aura COMMAND --help` prints the same in a terminal. `aura --version` prints the version; `--debug`, anywhere in a command, shows the traceback of an "
        "error.\n\nEvery command ends with 0 when it is done, 1 when it failed, and 2 when the command line or the recipe is wrong."
    },
    "ask": {
        "examples": """\
# the recording is the question
aura ask aura-smollm2-135m question.wav
# a written question about a recording, answered directly
aura ask aura-smollm2-135m order.flac "What was ordered? Answer in JSON." --from audio
# many recordings, a row each
aura ask aura-smollm2-135m calls "What was ordered?" --out answers.jsonl""",
        "text": "More of many recordings: [inputs, rows, machines](../offline_batches.md).",
    },
    "listen": {
        "examples": """\
# by a microphone (needs the extra `microphone`)
aura listen aura-smollm2-135m
# with a file in its place
aura listen aura-smollm2-135m --file question.wav""",
        "text": "What a stream promises: [speech that arrives in chunks](../streaming.md).",
    },
    "transcribe": {
        "examples": """\
aura transcribe aura-smollm2-135m talk.mp3
# captions for a player
aura transcribe aura-smollm2-135m talk.mp3 --format srt --out captions
# many recordings, with the times of the words
aura transcribe aura-smollm2-135m 'calls/**/*.wav' --out transcripts.jsonl""",
        "text": "More of many recordings: [inputs, rows, machines](../offline_batches.md). Of long ones: [chunks, memory](../long_audio.md).",
    },
    "distill": {
        "examples": """\
# sizes, and three rows as the student will see them; loads no weights
aura distill --config recipe.yaml --dry-run
aura distill --config recipe.yaml
# go on after a stop
aura distill --config recipe.yaml --resume
# a recipe that comes with the package, with changes
aura distill --config smollm2-135m-quick --set 'data.train=[{source: rows.jsonl}]' --set training.max_steps=200""",
        "text": "All keys: [recipes](../recipes.md). What can be measured on the way: [training](../training.md).",
    },
    "cache-teacher": {
        "examples": """\
aura cache-teacher --config recipe.yaml --set losses.teacher_cache_dir=states
# the second of eight machines
aura cache-teacher --config recipe.yaml --set losses.teacher_cache_dir=states --shard 2/8""",
        "text": "What it keeps, and how a training finds it: [the teacher's states ahead of time](../data.md#the-teachers-states-ahead-of-time).",
    },
    "evaluate": {
        "examples": """\
# the student, and the same LLM on the true text
aura evaluate outputs/my-student -b test.jsonl -s gold --out outputs/evaluation
# with Whisper and the same LLM, clean and in noise
aura evaluate outputs/my-student -b sd-qa -s gold -s cascade -c clean -c noise:12 --noise kitchen.flac --out outputs/noise
# evaluations that were run apart, in one table
aura evaluate --compare outputs/evaluation outputs/noise --out outputs/both""",
        "text": "Sets, systems, conditions, scorers and statistics: [evaluation](../evaluation.md).",
    },
    "merge": {
        "examples": "aura merge outputs/my-student outputs/merged",
        "text": "A merged checkpoint is for engines that know no adapters, such as [vLLM](../serving_vllm.md).",
    },
    "count-text": {
        "examples": "aura count-text outputs/my-student sentences.txt",
        "text": "The counts are a list of words and statistics of three tokens in a row. The search for transcripts uses both.",
    },
    "push": {
        "examples": """\
aura push outputs/my-student org/my-student --private
# another commit on the same repo
aura push outputs/my-student org/my-student --update --message "Longer training" """.rstrip(),
        "text": "It needs a token of the Hub, from `hf auth login` or in the variable `HF_TOKEN`.",
    },
    "serve": {
        "examples": """\
aura serve aura-smollm2-135m
# for other machines, with a key in the variable AURA_API_KEY
aura serve outputs/my-student --host 0.0.0.0 --port 8080""",
        "text": "What is served, and who may ask: [a student over HTTP](../serving.md).",
    },
    "web": {
        "examples": "aura web aura-smollm2-135m",
        "text": "What the page shows and keeps: [a page with a microphone](../web.md).",
    },
    "demo": {
        "examples": """\
aura demo
aura demo --train""",
        "text": "What it prints, and how it is counted: [the demos](../demo.md).",
    },
}
"""Of each command: examples, one a line, and what else there is to read. The command without a name is `aura` itself."""

RECIPES: dict[str, dict[str, str]] = {
    "intro": {
        "text": "A recipe is one YAML file that says which student learns from which teacher, on what, and how. [`aura distill`](commands/distill.md) reads it. "
        "A key that nothing reads is an error that names the nearest one.\n\n"
        "The student is a language model (LLM) that learns to hear. The teacher is the frozen encoder of a Whisper model. [How AuRA hears](how-aura-hears.md) "
        "explains both.\n\nThese recipes come with the package. The last column is the comment in the file."
    },
    "keys": {
        "text": "## Every key\n\nThe tables list all keys but those of `losses` and `training`, which follow. Without a default, and where nothing else is said, a key that is "
        "left out keeps the library's own."
    },
    "training": {
        "text": "### losses and training\n\nThese two sections are read as one. Their keys are the fields of `AuraTrainingArguments`. The table has what this package adds or changes. "
        "All fields of `transformers.TrainingArguments` may stand there too, but for a few that have no meaning here and are refused by name."
    },
    "": {
        "name": "Name of the student: of its card, and of its output folder where `training.output_dir` gives none.",
        "model": "The student: its base LLM, LoRA and patch embedding.",
        "teacher": "The frozen encoder that teaches it.",
        "second_teacher": "Another encoder that teaches beside it: [a second teacher](second_teacher.md).",
        "data": "Rows to learn from.",
        "training": "How it is trained; see [below](#losses-and-training).",
        "losses": "What it learns from; see [below](#losses-and-training).",
        "evaluation": "What is measured on the way.",
        "card": "What the model card says beyond what the run knows.",
    },
    "model": {
        "dtype": "Number format of the weights: `float32`, `bfloat16` or `float16`.",
        "attn_implementation": "Attention kernel of transformers, such as `sdpa` or `eager`.",
    },
    "teacher": {"revision": "Commit, branch or tag of `model`."},
    "second_teacher": {"revision": "Commit, branch or tag of `model`."},
    "data": {
        "train": "Sources of rows to learn from.",
        "evaluation": "Sources of rows to measure on, with the same keys as `train`.",
    },
    "card": {
        "license": "Licence of the student, as the Hub writes it (`apache-2.0`).",
        "languages": "Language codes. Where it is one, scores are normalised by its rules.",
        "limits": "Sentences on what the student cannot do.",
    },
}
"""Texts between the tables, and keys of a recipe that no docstring tells of."""

STOCK_ARGUMENTS = {
    "learning_rate": "Learning rate of the LoRA.",
    "lr_scheduler_type": "How the learning rate goes down.",
    "warmup_steps": "Steps over which it rises first.",
    "num_train_epochs": "How often all rows are seen.",
    "per_device_train_batch_size": "Rows that a device takes at once.",
    "gradient_accumulation_steps": "Such batches in one optimisation step.",
    "max_grad_norm": "Longer gradients are shortened to this norm.",
    "weight_decay": "How much weights shrink towards zero in a step.",
    "max_steps": "Optimisation steps; in place of `num_train_epochs`.",
    "fsdp": "Shard the base LLM over the GPUs: `full_shard` over all, `hybrid_shard` inside each node; see [several GPUs](distributed.md).",
    "train_sampling_strategy": "Order of the rows: `random`, `sequential`, or `group_by_length` for clips of about one length in a batch, by their column `seconds`.",
    "bf16": "Compute in bfloat16 where that is exact enough.",
    "gradient_checkpointing": "Compute activations twice in place of keeping them: less memory, more time.",
    "use_cpu": "Stay on the CPU where there is a GPU.",
    "seed": "Of everything that is drawn at random.",
    "logging_steps": "Steps between two lines of the log.",
    "save_steps": "Steps between two checkpoints.",
    "save_total_limit": "Checkpoints that are kept.",
    "report_to": "Where logs go besides: `none`, `tensorboard`, `wandb`, `trackio`.",
}
"""Arguments of `transformers.TrainingArguments` that the packaged recipes set."""
