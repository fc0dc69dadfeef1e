"""Trains the demo's student, in one process or under `torchrun` in two.

    torchrun --nproc_per_node 2 demo/train_student.py [KEY=VALUE ...]

The settings are those of `demo/recipe.yaml` with the given changes. What `aura distill` does with a recipe, and one thing more: the student's chat template has no
system prompt, which would be a third of all tokens here. A run that was interrupted goes on from its last checkpoint.
"""

import sys
from pathlib import Path


RECIPE = Path(__file__).with_name("recipe.yaml")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def new_student(recipe, teacher):
    """The student of a recipe before its first step, and its processor."""
    from transformers_aura import AuraForSpeechQA, AuraProcessor

    student = AuraForSpeechQA.from_language_model_pretrained(
        recipe.model.base_model, **recipe.model.student_settings()
    )
    if recipe.model.init_from_teacher:
        student.init_audio_embedding_from_teacher(teacher.encoder)
    frames_per_token = student.config.audio_config.frames_per_token
    processor = AuraProcessor.from_language_model_pretrained(
        recipe.model.base_model, frames_per_token=frames_per_token
    )
    processor.chat_template = processor.tokenizer.chat_template = CHAT_TEMPLATE
    return student, processor


def main() -> None:
    import transformers
    from transformers import set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from transformers_aura import AuraTeacher, AuraTrainer
    from transformers_aura.distillation.recipe import load_recipe, training_arguments
    from transformers_aura.distillation.recipe_data import load_rows
    from transformers_aura.hub import TrainingSummary, save_model_card

    transformers.utils.logging.disable_progress_bar()  # of loading and saving; the training has its own
    recipe = load_recipe(RECIPE, sys.argv[1:])
    arguments = training_arguments(recipe)
    set_seed(arguments.seed)
    load_teacher = AuraTeacher.from_random if recipe.teacher.random else AuraTeacher.from_pretrained
    teacher = load_teacher(recipe.teacher.model, **recipe.teacher.teacher_settings())
    student, processor = new_student(recipe, teacher)
    trainer = AuraTrainer(
        model=student,
        teacher=teacher if arguments.uses_distillation else None,
        args=arguments,
        train_dataset=load_rows(recipe.data.train, "data.train"),
        processing_class=processor,
    )
    out = Path(arguments.output_dir)
    result = trainer.train(resume_from_checkpoint=get_last_checkpoint(out) if out.is_dir() else None)
    trainer.save_model()
    if arguments.should_save:
        weights = {name: weight for name, weight in trainer.loss_weights.items() if weight}
        last = [log for log in trainer.state.log_history if "loss" in log][-1]
        summary = TrainingSummary(
            teacher="openai/whisper-tiny.en" + (" with random weights" if recipe.teacher.random else ""),
            data=[source.note for source in recipe.data.train if source.note is not None],
            losses={name: last[name] for name in weights if name in last},
            loss_weights=weights,
            num_steps=trainer.state.global_step,
            duration_seconds=result.metrics["train_runtime"],
            limits=recipe.card.limits,
            languages=recipe.card.languages,
        )
        save_model_card(out, summary)


if __name__ == "__main__":
    main()
