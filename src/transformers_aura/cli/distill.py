"""`aura distill`: teach a student by a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import print_status, quiet_libraries


if TYPE_CHECKING:
    from ..distillation.recipe import Recipe


def distill(
    config: Annotated[str, typer.Option(help="A recipe: YAML file, or the name of one that comes with the package.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.max_steps=10. Repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this recipe's output folder.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print parameters, published bytes and memory, and stop before loading any weights."
        ),
    ] = False,
) -> None:
    """Distil a student by a recipe; saves it, with its model card, into the recipe's output folder."""
    from ..distillation.recipe import RecipeError, load_recipe, training_arguments

    try:
        recipe = load_recipe(config, settings or ())
        quiet_libraries()
        arguments = training_arguments(recipe)
        if dry_run:
            _print_plan(recipe, arguments)
            return
        from ..distillation.recipe_data import load_context_texts, load_rows

        train_rows = load_rows(recipe.data.train, "data.train")
        evaluation_rows = load_rows(recipe.data.evaluation, "data.evaluation")
        context_texts = load_context_texts(recipe.data.context_texts)
    except RecipeError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from error
    out = Path(arguments.output_dir)
    checkpoint = _checkpoint(out, resume)
    if arguments.should_save:  # one process of several speaks
        print_status(
            f"{recipe.name}: {recipe.model.base_model} learns from {recipe.teacher.model}, {len(train_rows)} rows an epoch"
        )
    _run(recipe, arguments, train_rows, evaluation_rows, context_texts, checkpoint)
    if arguments.should_save:
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        print_status(f"{out}: {size / 1e6:.1f} MB of weights. Try: aura ask {out} recording.wav")


def _print_plan(recipe: "Recipe", arguments: Any) -> None:
    """Parameters, bytes and memory of a recipe, from the configurations alone."""
    from ..distillation.plan import plan_training

    plan = plan_training(recipe, arguments)
    typer.echo(f"{recipe.name}: {recipe.model.base_model} learns from {recipe.teacher.model}")
    typer.echo(f"  base model         {plan.num_base_parameters:>16,} parameters, frozen")
    typer.echo(
        f"  student            {plan.num_trained_parameters:>16,} parameters, trained: LoRA and patch embedding"
    )
    typer.echo(f"  heads              {plan.num_head_parameters:>16,} parameters, trained, not published")
    typer.echo(f"  teacher            {plan.num_teacher_parameters:>16,} parameters, frozen, not published")
    typer.echo(f"  published weights  {plan.pushed_bytes:>16,} bytes")
    typer.echo(f"  memory to train    {sum(plan.memory_bytes.values()):>16,} bytes, and activations:")
    for kind, num_bytes in plan.memory_bytes.items():
        typer.echo(f"    {kind:<16} {num_bytes:>16,}")


def _run(
    recipe: "Recipe",
    arguments: Any,
    train_rows: Any,
    evaluation_rows: Any,
    context_texts: list[str] | None,
    checkpoint: str | None,
) -> None:
    """Load student and teacher, train, save the student with processor and card."""
    from ..distillation.teacher import AuraTeacher
    from ..distillation.trainer import AuraTrainer
    from ..hub import save_model_card
    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register

    register()
    section = recipe.model
    student = AuraForSpeechQA.from_language_model_pretrained(section.base_model, **section.student_settings())
    processor = AuraProcessor.from_language_model_pretrained(
        section.base_model,
        gguf_file=section.gguf_file,
        revision=section.revision,
        num_mel_bins=student.config.audio_config.num_mel_bins,
        frames_per_token=student.config.audio_config.frames_per_token,
    )
    teacher = None
    if arguments.uses_distillation or section.init_from_teacher:
        load_teacher = AuraTeacher.from_random if recipe.teacher.random else AuraTeacher.from_pretrained
        teacher = load_teacher(recipe.teacher.model, **recipe.teacher.teacher_settings())
    if section.init_from_teacher and teacher is not None:
        student.init_audio_embedding_from_teacher(teacher.encoder)
    trainer = AuraTrainer(
        model=student,
        teacher=teacher if arguments.uses_distillation else None,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=evaluation_rows if len(evaluation_rows) else None,
        processing_class=processor,
        context_texts=context_texts,
    )
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    if arguments.should_save:
        summary = _summary(recipe, trainer, result.metrics["train_runtime"])
        save_model_card(arguments.output_dir, summary, license=recipe.card.license)


def _checkpoint(out: Path, resume: bool) -> str | None:
    """The checkpoint to go on from; refuses to train into a folder that holds another run."""
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(out)) if out.is_dir() else None
    if resume and last is None:
        raise typer.BadParameter(f"{out} holds no checkpoint to go on from.", param_hint="--resume")
    if not resume and (last is not None or (out / "config.json").exists()):
        raise typer.BadParameter(
            f"{out} holds a run already. Go on with --resume, or choose another folder with --set training.output_dir=...",
            param_hint="--config",
        )
    return last


def _summary(recipe: "Recipe", trainer: Any, duration_seconds: float) -> Any:
    """What the model card says of this run."""
    from ..hub import TrainingSummary
    from ..hub.repo_folder import is_hub_id

    weights = {name: weight for name, weight in trainer.loss_weights.items() if weight}
    last = [log for log in trainer.state.log_history if "loss" in log][-1:]
    return TrainingSummary(
        teacher=recipe.teacher.model + (" with random weights" if recipe.teacher.random else ""),
        data=[source.note or source.source for source in recipe.data.train],
        datasets=[source.source for source in recipe.data.train if is_hub_id(source.source)],
        losses={name: log[name] for log in last for name in weights if name in log},
        loss_weights=weights,
        num_steps=trainer.state.global_step,
        duration_seconds=duration_seconds,
        recipe=recipe.text,
        limits=recipe.card.limits,
        languages=recipe.card.languages,
    )
