"""`aura distill`: teach a student by a recipe."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import print_status, quiet_libraries


if TYPE_CHECKING:
    from ..distillation.recipe import Recipe
    from ..distillation.trainer import AuraTrainer
    from ..distillation.training_args import AuraTrainingArguments
    from ..evaluation.training_metrics import AnswerMetrics
    from ..hub import TrainingSummary


_NOT_IN_RECIPES = {
    "resume_from_checkpoint": "go on with `aura distill --resume`",
    "do_train": "`aura distill` trains",
    "do_eval": "set `eval_strategy`, with rows in `data.evaluation`",
    "do_predict": "`aura ask`, `aura transcribe` and `aura evaluate` tell what a student answers",
    "push_to_hub": "`aura push` uploads the student, with its model card",
}
"""Arguments of transformers that only other scripts read."""


def distill(
    config: Annotated[str, typer.Option(help="A recipe: YAML file, or the name of one that comes with the package.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.max_steps=10. Repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint in this recipe's output folder.")
    ] = False,
    bridge: Annotated[
        str | None,
        typer.Option(
            metavar="WHISPER",
            help="Train a baseline (bridge) instead of a student: this frozen Whisper encoder (Hub id or folder), a small adapter, the frozen LLM.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print parameters, published bytes, memory and operations, and three training rows as the model sees them; load no weights.",
        ),
    ] = False,
    shards: Annotated[
        int,
        typer.Option(
            min=1, help="With --dry-run: number of GPUs over which the base LLM is sharded (`training.fsdp`)."
        ),
    ] = 1,
) -> None:
    """Train a student by a recipe, and save it with its model card in the recipe's output folder."""
    from ..distillation.recipe import RecipeError, load_recipe, training_arguments
    from ..folder_lock import lock_folder
    from ..registration import register

    register()
    try:
        recipe = load_recipe(config, settings or ())
        quiet_libraries()
        for key, instead in _NOT_IN_RECIPES.items():
            if recipe.training.get(key):
                raise RecipeError(f"'training.{key}' has no effect in a recipe: {instead}.")
        arguments = training_arguments(recipe)
        metrics = _metrics(recipe, arguments)
        if dry_run:
            _print_plan(recipe, arguments, shards)
            return
        # One process of several writes.
        with lock_folder(arguments.output_dir, "a training") if arguments.should_save else nullcontext():
            _train(recipe, arguments, metrics, resume, bridge)
    except RecipeError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from error


def _metrics(recipe: Recipe, arguments: AuraTrainingArguments) -> AnswerMetrics | None:
    """What scores the student's answers while it learns."""
    from ..distillation.recipe import RecipeError
    from ..distillation.recipe_evaluation import check_evaluation
    from ..evaluation.training_metrics import AnswerMetrics

    check_evaluation(recipe, arguments)
    if not recipe.evaluation.metrics:
        return None
    languages = recipe.card.languages
    try:
        return AnswerMetrics(recipe.evaluation.metrics, languages[0] if len(languages) == 1 else None)
    except ValueError as error:
        raise RecipeError(f"'evaluation.metrics': {error}") from error


def _train(
    recipe: Recipe,
    arguments: AuraTrainingArguments,
    metrics: AnswerMetrics | None,
    resume: bool,
    bridge: str | None,
) -> None:
    """Train and save, in an output folder that nobody else writes to."""
    from ..distillation.checkpoint_files import complete_checkpoints
    from ..distillation.early_stopping import has_stopped_early
    from ..distillation.logs import ProgressLines
    from ..distillation.recipe_run import build_trainer, describe_size, describe_spelling

    out = Path(str(arguments.output_dir))
    _check_folder(out, resume)
    student = None if bridge is None else _new_bridge(recipe, arguments, bridge)
    trainer = build_trainer(recipe, arguments, student, compute_metrics=metrics)
    trainer.holds_output_dir = True
    if arguments.should_save:  # one process of several speaks
        print_status(
            f"{recipe.name}: {recipe.model.source} learns from {recipe.teacher.model}, rows: {describe_size(trainer.train_dataset)}"
        )
        for line in describe_spelling(trainer.model.config, trainer.train_dataset):
            print_status(line)
    if not sys.stderr.isatty():
        trainer.add_callback(ProgressLines(print_status))
    try:
        result = trainer.train(resume_from_checkpoint=resume)
    except KeyboardInterrupt:
        saved = next(iter(complete_checkpoints(out)), None)
        print_status(
            f"Stopped at step {trainer.state.global_step}. "
            + ("No checkpoint is there yet." if saved is None else f"Go on from {saved} with --resume.")
        )
        raise
    state = trainer.state
    if has_stopped_early(trainer):
        if arguments.should_save:
            print_status(
                f"Ended after step {state.global_step} of {state.max_steps}: {arguments.metric_for_best_model} got no better than {state.best_metric:g}."
            )
    elif state.global_step < state.max_steps:  # `enable_jit_checkpoint`
        raise RuntimeError(
            f"The training was stopped after step {state.global_step} of {state.max_steps}. Go on with --resume."
        )
    trainer.save_model()
    if not arguments.should_save:
        return
    if _best_step(trainer) is not None:
        print_status(
            f"Saved as it was at step {_best_step(trainer)} of {state.global_step}, the best by {arguments.metric_for_best_model} ({state.best_metric:g})."
        )
    from ..hub import save_model_card

    # A run that was resumed knows the time of its last part only.
    summary = _summary_of_run(recipe, trainer, None if resume else result.metrics["train_runtime"])
    summary.save(out)
    if bridge is not None:
        from ..evaluation.baselines.bridge import write_bridge_file

        write_bridge_file(out, bridge)  # last: it says that the bridge is whole
        print_status(f"Bridge: {out}")
        return
    save_model_card(out, summary, license=recipe.card.license)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print_status(f"{out}: {size / 1e6:.1f} MB of weights. Try: aura ask {out} recording.wav")


def _best_step(trainer: AuraTrainer) -> int | None:
    """The step whose weights a finished training has loaded back (`load_best_model_at_end`)."""
    state = trainer.state
    return state.best_global_step if trainer.args.load_best_model_at_end and state.best_model_checkpoint else None


def _summary_of_run(recipe: Recipe, trainer: AuraTrainer, duration_seconds: float | None) -> TrainingSummary:
    """What the model card tells of a finished run by a recipe."""
    from ..hub import TrainingSummary
    from ..hub.model_card import model_reference
    from ..hub.repo_folder import is_hub_id

    weights = trainer.loss_weights
    last = [log for log in trainer.state.log_history if "loss" in log][-1:]
    return TrainingSummary(
        teacher=model_reference(recipe.teacher.model) + (" with random weights" if recipe.teacher.random else ""),
        data=[
            source.note or source.source + (f" ({', '.join(source.use)})" if source.use else "")
            for source in recipe.data.train
        ],
        datasets=[source.source for source in recipe.data.train if is_hub_id(source.source)],
        losses={name: log[name] for log in last for name in weights if name in log},
        loss_weights=weights,
        num_steps=_best_step(trainer) or trainer.state.global_step,
        duration_seconds=duration_seconds,
        recipe=recipe.text,
        limits=recipe.card.limits,
        languages=recipe.card.languages,
    )


def _new_bridge(recipe: Recipe, arguments: AuraTrainingArguments, whisper: str) -> Any:
    """The baseline's model and processor, for the recipe's LLM."""
    from ..distillation.objectives import default_objectives
    from ..distillation.recipe import RecipeError
    from ..distillation.recipe_auto import with_alphabet
    from ..distillation.recipe_data import load_rows
    from ..evaluation.baselines.bridge import new_bridge

    if any(objective.needs_teacher for objective in default_objectives(arguments).values()):
        raise RecipeError(
            "a bridge has nothing to distil an encoder into: it holds one. Add --set losses.supervision=transcript."
        )
    base_model = recipe.model.base_model
    if base_model is None:
        raise RecipeError("'model.base_model' is missing: a bridge starts from an LLM, not from a student.")
    if recipe.model.character_ctc_alphabet == "auto":
        recipe = with_alphabet(recipe, load_rows(recipe.data.train, "data.train"))
    names = ("dtype", "attn_implementation", "character_ctc_alphabet", "subword_ctc_layer")
    settings = {name: value for name in names if (value := getattr(recipe.model, name)) is not None}
    return new_bridge(base_model, whisper, **settings)


def _print_plan(recipe: Recipe, arguments: AuraTrainingArguments, shards: int) -> None:
    """Parameters, bytes, memory and operations of a recipe, from the configurations alone; then three of its rows."""
    from ..distillation.plan import plan_training
    from ..distillation.recipe import RecipeError
    from ..distillation.recipe_auto import with_alphabet
    from ..distillation.recipe_run import describe_rows, load_rows_to_show
    from ..distillation.step_cost import StepRows, count_step

    if shards > 1 and arguments.sharding is None:
        raise RecipeError("the recipe does not shard its base LLM: add --set training.fsdp=full_shard.")
    data = load_rows_to_show(recipe, arguments)
    recipe = with_alphabet(recipe, data)
    plan = plan_training(recipe, arguments, num_shards=shards)
    typer.echo(f"{recipe.name}: {recipe.model.source} learns from {recipe.teacher.model}")
    typer.echo(f"  base model         {plan.num_base_parameters:>16,} parameters, frozen")
    student = plan.student.model
    has_heads = student.character_ctc_head is not None or student.subword_ctc_head is not None
    parts = "LoRA, patch embedding, CTC heads" if has_heads else "LoRA, patch embedding"
    typer.echo(f"  student            {plan.num_trained_parameters:>16,} parameters, trained: {parts}")
    typer.echo(f"  distillation heads {plan.num_head_parameters:>16,} parameters, trained, not published")
    typer.echo(f"  teacher            {plan.num_teacher_parameters:>16,} parameters, frozen, not published")
    typer.echo(f"  published weights  {plan.pushed_bytes:>16,} bytes")
    typer.echo(f"  memory to train    {sum(plan.memory_bytes.values()):>16,} bytes, and activations:")
    for kind, num_bytes in plan.memory_bytes.items():
        typer.echo(f"    {kind:<26} {num_bytes:>16,}")
    rows = StepRows(arguments.per_device_train_batch_size)
    cost = count_step(plan.student, plan.heads, plan.encoder, rows, bool(arguments.gradient_checkpointing))
    typer.echo(
        f"  {rows.count} rows with {rows.seconds:g} s of audio: {sum(cost.operations.values()):.3g} operations, {cost.activation_bytes:,} bytes of activations"
    )
    for line in describe_rows(recipe, arguments, plan.student.config, data):
        typer.echo(line)


def _check_folder(out: Path, resume: bool) -> None:
    """Refuse to train into a folder that holds another run, or to go on from nothing."""
    from ..distillation.checkpoint_files import complete_checkpoints

    has_checkpoint = any(complete_checkpoints(out))
    if resume and not has_checkpoint:
        raise typer.BadParameter(f"{out} holds no checkpoint to go on from.", param_hint="--resume")
    if not resume and (has_checkpoint or (out / "config.json").exists()):
        raise typer.BadParameter(
            f"{out} holds a run already. Go on with --resume, or choose another folder with --set training.output_dir=...",
            param_hint="--config",
        )
