"""What `tools/docs_pages.py` adds to the code's own texts: examples of commands, and descriptions of recipes."""

from __future__ import annotations


COMMANDS: dict[str, dict[str, str]] = {
    "": {
        "text": "`aura COMMAND --help` prints this help in a terminal. `aura --version` prints the version. `--debug`, anywhere in a command, shows the traceback of an "
        "error.\n\nThe exit status is 0 on success, 1 on failure, and 2 if the command line or the recipe is wrong."
    },
    "ask": {
        "examples": """\
# the recording is the question
aura ask aura-smollm2-135m question.wav
# a written question about a recording, answered directly
aura ask aura-smollm2-135m order.flac "What was ordered? Answer in JSON." --from audio
# many recordings, with a row for each
aura ask aura-smollm2-135m calls "What was ordered?" --out answers.jsonl""",
        "text": "More on [many recordings](../offline_batches.md).",
    },
    "listen": {
        "examples": """\
# with a microphone (needs the extra `microphone`)
aura listen aura-smollm2-135m
# with a file instead
aura listen aura-smollm2-135m --file question.wav""",
        "text": "How streams work, in Python too: [streaming speech](../streaming.md).",
    },
    "transcribe": {
        "examples": """\
aura transcribe aura-smollm2-135m talk.mp3
# captions for a player
aura transcribe aura-smollm2-135m talk.mp3 --format srt --out captions
# many recordings, with the times of the words
aura transcribe aura-smollm2-135m 'calls/**/*.wav' --out transcripts.jsonl""",
        "text": "More on [many recordings](../offline_batches.md) and [long recordings](../long_audio.md).",
    },
    "distill": {
        "examples": """\
# sizes, and three rows as the student will see them; loads no weights
aura distill --config recipe.yaml --dry-run
aura distill --config recipe.yaml
# continue a stopped run
aura distill --config recipe.yaml --resume
# a recipe that comes with the package, with changes
aura distill --config smollm2-135m-quick --set 'data.train=[{source: rows.jsonl}]' --set training.max_steps=200""",
        "text": "All keys: [recipes](../recipes.md). Scores during training, early stopping, logs: [training](../training.md).",
    },
    "cache-teacher": {
        "examples": """\
aura cache-teacher --config recipe.yaml --set losses.teacher_cache_dir=states
# the second of eight machines
aura cache-teacher --config recipe.yaml --set losses.teacher_cache_dir=states --shard 2/8""",
        "text": "What it stores, and how training uses it: [computing the teacher's states in advance](../data.md#computing-the-teachers-states-in-advance).",
    },
    "evaluate": {
        "examples": """\
# the student, and the same LLM on the reference transcript
aura evaluate outputs/my-student -b test.jsonl -s gold --out outputs/evaluation
# also Whisper plus the same LLM, clean and in noise
aura evaluate outputs/my-student -b sd-qa -s gold -s cascade -c clean -c noise:12 --noise kitchen.flac --out outputs/noise
# separate evaluations in one table
aura evaluate --compare outputs/evaluation outputs/noise --out outputs/both""",
        "text": "Benchmarks, systems, conditions, scorers and statistics: [evaluation](../evaluation.md).",
    },
    "merge": {
        "examples": "aura merge outputs/my-student outputs/merged",
        "text": "Merge a student for engines without adapter support, or to serve the packaged students with [vLLM](../serving_vllm.md).",
    },
    "count-text": {
        "examples": "aura count-text outputs/my-student sentences.txt",
        "text": "The counts are a list of words, and statistics of three tokens in a row. The beam search for transcripts uses both.",
    },
    "push": {
        "examples": """\
aura push outputs/my-student org/my-student --private
# add a commit to the same repo
aura push outputs/my-student org/my-student --update --message "Longer training" """.rstrip(),
        "text": "It needs a Hub token, from `hf auth login` or in the variable `HF_TOKEN`.",
    },
    "serve": {
        "examples": """\
aura serve aura-smollm2-135m
# for other machines, with a key in the variable AURA_API_KEY
aura serve outputs/my-student --host 0.0.0.0 --port 8080""",
        "text": "Endpoints, access and engines: [serving over HTTP](../serving.md).",
    },
    "web": {
        "examples": "aura web aura-smollm2-135m",
        "text": "What the page shows, privacy and limits: [a web page with a microphone](../web.md).",
    },
    "demo": {
        "examples": """\
aura demo
aura demo --train""",
        "text": "What it prints, and how it is measured: [the demos](../demo.md).",
    },
}
"""For each command: examples, one a line, and further reading. The command without a name is `aura` itself."""

RECIPES: dict[str, dict[str, str]] = {
    "intro": {
        "text": "A recipe is one YAML file that says which student learns from which teacher, on what, and how. [`aura distill`](commands/distill.md) reads it. "
        "An unknown key is an error that suggests the nearest one.\n\n"
        "The student is a language model (LLM) that learns to understand speech. The teacher is the frozen encoder of a Whisper model. [How AuRA hears](how-aura-hears.md) "
        "explains both.\n\nThese recipes come with the package. In the tables, the last column is the comment in the file."
    },
    "keys": {
        "text": "## Every key\n\nThe tables list all keys. Those of `losses` and `training` come last. If a key has no default here and you leave it out, "
        "the library's default applies."
    },
    "training": {
        "text": "### losses and training\n\nThese two sections are read as one. Their keys are the fields of `AuraTrainingArguments`. The table lists what this package adds or changes. "
        "You can also set the fields of `transformers.TrainingArguments`, except a few that are refused by name because they have no effect here."
    },
    "": {
        "name": "Name of the student, used in its model card and as its output folder if `training.output_dir` is not set.",
        "model": "The student: its base LLM, LoRA and patch embedding.",
        "teacher": "The frozen encoder that teaches it.",
        "second_teacher": "Another encoder that also teaches the student: [a second teacher](second_teacher.md).",
        "data": "Rows to learn from.",
        "training": "How it is trained; see [below](#losses-and-training).",
        "losses": "What it learns from; see [below](#losses-and-training).",
        "evaluation": "What is measured during training.",
        "card": "Additions to the automatic model card.",
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
        "languages": "Language codes. If there is exactly one, scores are normalised by its rules.",
        "limits": "Sentences on what the student cannot do.",
    },
}
"""Texts between the tables, and descriptions of recipe keys that no docstring has."""

STOCK_ARGUMENTS = {
    "learning_rate": "Learning rate of the LoRA.",
    "lr_scheduler_type": "How the learning rate decreases.",
    "warmup_steps": "First steps, over which the learning rate rises.",
    "num_train_epochs": "How often all rows are seen.",
    "per_device_train_batch_size": "Rows per device in a batch.",
    "gradient_accumulation_steps": "Batches per optimisation step.",
    "max_grad_norm": "Gradients are clipped to this norm.",
    "weight_decay": "How much weights shrink towards zero in a step.",
    "max_steps": "Optimisation steps; replaces `num_train_epochs`.",
    "fsdp": "Shard the base LLM over the GPUs: `full_shard` over all, `hybrid_shard` inside each node; see [several GPUs](distributed.md).",
    "train_sampling_strategy": "Order of the rows: `random`, `sequential`, or `group_by_length` for batches of clips of similar length, by their column `seconds`.",
    "bf16": "Compute in bfloat16 where that is accurate enough (autocast).",
    "gradient_checkpointing": "Recompute activations instead of storing them: less memory, more time.",
    "use_cpu": "Train on the CPU even if there is a GPU.",
    "seed": "Random seed of the training run.",
    "logging_steps": "Steps between two log lines.",
    "save_steps": "Steps between two checkpoints.",
    "save_total_limit": "Most checkpoints to keep.",
    "report_to": "Other tools that get the logs: `none`, `tensorboard`, `wandb`, `trackio`.",
}
"""Arguments of `transformers.TrainingArguments` that the packaged recipes set."""
