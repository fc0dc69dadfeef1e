"""`aura cache-teacher`: the teacher's states of all training clips, ahead of a training."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .batches.options import ShardOption
from .console import print_error, print_result, print_status, quiet_libraries


MOST_SHOWN = 10


def cache_teacher(
    config: Annotated[str, typer.Option(help="A recipe: YAML file, or the name of one that comes with the package.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the recipe: losses.teacher_cache_dir=FOLDER. Repeatable."
        ),
    ] = None,
    shard: ShardOption = None,
) -> None:
    """Compute and store the teacher's states for a recipe's training clips, so that training need not run the teacher. States that are already stored are kept."""
    from tqdm.auto import tqdm

    from ..distillation.recipe import RecipeError, load_recipe, training_arguments
    from ..distillation.teacher_caching import cache_teacher_states
    from ..registration import register
    from .batches.inputs import InputError, Shard

    try:
        part = Shard.parse(shard)
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from error
    register()
    try:
        recipe = load_recipe(config, settings or ())
        quiet_libraries()
        arguments = training_arguments(recipe)
        with tqdm(desc="Teacher states", unit="clip", disable=not sys.stderr.isatty()) as progress:
            summary = cache_teacher_states(recipe, arguments, part.index, part.count, progress.update)
    except RecipeError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from error
    print_result(
        f"{summary.num_clips:,} clips, {summary.seconds / 3600:.2f} hours: {summary.num_computed:,} computed ({summary.num_bytes:,} bytes), "
        f"{summary.num_clips - summary.num_computed:,} were there; {len(summary.unreadable):,} cannot be read"
    )
    print_status(f"Cache: {arguments.teacher_cache_dir}")
    for reason in summary.unreadable[:MOST_SHOWN]:
        print_error(reason)
    if summary.unreadable:
        raise typer.Exit(1)
