"""Runs benchmarks.

    python -m benchmarks first_token --threads 1     # one of them; its result goes to outputs/benchmarks
    python -m benchmarks quick                       # a set of them, one after the other, each in a process of its own
    python -m benchmarks targets                     # what the results say beside what they must say
    python -m benchmarks page                        # docs/performance.md, from the results in benchmarks/results

A result is a JSON file, named after benchmark, threads and format; its tables and plots go to outputs/benchmarks as well.
"""

import argparse
import datetime
import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.results import STUDENT, draw, read_results
from transformers_aura.cli.compute import GROUPED_ATTENTION


RESULTS = Path(__file__).with_name("results")
MEASURED = Path("outputs") / "benchmarks"
BENCHMARKS = (
    "operations",
    "graph_breaks",
    "first_token",
    "streaming",
    "generation",
    "transcript_time",
    "features",
    "loading",
    "training_step",
    "memory",
    "long_audio",
    "large",
    "serving_load",
)
QUICK = (
    "operations",
    "graph_breaks",
    "features",
    "first_token --lengths 3 10 --seconds 10",
    "streaming --lengths 3 10 --seconds 10",
)
ALL = (
    "operations",
    "graph_breaks",
    "first_token --threads 1",
    "first_token --threads 2 --lengths 3 10 30",
    "first_token --dtype bfloat16 --lengths 3 10",
    "first_token --dtype int8 --lengths 3 10 30",
    "streaming --threads 1 --lengths 3 10 60",
    "streaming --threads 2 --lengths 3 10 60",
    "generation --threads 2 --rounds 2",
    "transcript_time",
    "features --threads 1",
    "features --threads 2",
    "loading",
    'training_step --rounds 2 --trainings "student, teacher\'s states cached"',
    "memory --lengths 300",
)
"""In 25 minutes on two quiet cores. `long_audio`, which is about right answers more than about time, and other cases of these are run by hand."""
GPU = ("operations", "large --device cuda --dtype bfloat16")
SETS = {"quick": QUICK, "all": ALL, "gpu": GPU}


def main() -> None:
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in SETS:
        run_set(SETS[name], arguments)
    elif name in BENCHMARKS:
        run(name, arguments)
    elif name == "targets":
        print_targets(folders(arguments))
    elif name == "page":
        from benchmarks import page

        page.write(folders(arguments))
    else:
        sys.exit(f"Name a benchmark ({', '.join(BENCHMARKS)}), a set ({', '.join(SETS)}), `targets` or `page`.")


def folders(arguments: list[str]) -> list[Path]:
    """Those that hold results: as given, or those of the repository and what was measured last, which goes first."""
    return [Path(argument) for argument in arguments] or [RESULTS, MEASURED]


def print_targets(of_folders: list[Path]) -> None:
    """What the results say beside what they must say."""
    from benchmarks import targets

    print(targets.to_markdown(read_results(*of_folders)))


def run(name: str, arguments: list[str]) -> None:
    """One benchmark in this process; prints its tables and writes its files."""
    benchmark = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = parser.add_argument_group("all benchmarks")
    common.add_argument("--student", default=STUDENT, help="packaged student, folder or Hub id")
    common.add_argument("--base-model", help="of the student; default: the copy of `make real-models`")
    common.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16", "int8"])
    common.add_argument("--threads", type=int, default=1)
    common.add_argument("--device", default="cpu")
    common.add_argument("--rounds", type=int, default=15, help="of each case, at most")
    common.add_argument("--seconds", type=float, default=20.0, help="of each case, after three rounds")
    common.add_argument("--clock", default="wall", choices=["wall", "processor"], help="which seconds are counted")
    common.add_argument("--results", type=Path, default=MEASURED, help="folder for the results")
    if hasattr(benchmark, "add_arguments"):
        benchmark.add_arguments(parser)
    settings = parser.parse_args(arguments)

    import torch
    import transformers

    from benchmarks.timing import machine

    if settings.device == "cpu":
        os.environ.setdefault(GROUPED_ATTENTION, "1")  # as `aura ask` does; for every system alike
    torch.set_num_threads(settings.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    of_machine = machine(settings.device)  # before the run: its load is that of others
    result = benchmark.measure(settings)
    result.title = benchmark.__doc__.splitlines()[0]
    result.command = shlex.join(["python", "-m", "benchmarks", name, *_without(arguments, "--results")])
    result.machine = of_machine
    result.date = datetime.date.today().isoformat()
    result.settings = {name: getattr(settings, name) for name in ("student", "threads", "dtype", "device", "clock")}
    file = result.write(settings.results)
    markdown = f"# {result.title}\n\n{result.to_markdown()}\n"
    MEASURED.mkdir(parents=True, exist_ok=True)
    (MEASURED / f"{file.stem}.md").write_text(markdown, encoding="utf-8")
    for number, table in enumerate(result.tables):
        if table.reference:
            draw(table, MEASURED / f"{file.stem}-{number}.png")
    print(f"\n{markdown}\n{file}", flush=True)


def run_set(commands: tuple[str, ...], arguments: list[str]) -> None:
    """Benchmarks one after the other, each in a process of its own, then the targets. A failed one is named, and the others run."""
    failed = []
    for command in commands:
        print(f"\n== python -m benchmarks {command}", flush=True)
        words = shlex.split(command)
        threads = words[words.index("--threads") + 1] if "--threads" in words else "1"
        # OpenMP's default spin-waiting makes small CPU operators many times slower as soon as two processes share a core.
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        line = [sys.executable, "-m", "benchmarks", *words, *arguments]
        if subprocess.run(line, env=environment, check=False).returncode != 0:
            failed.append(command)
    given = [arguments[arguments.index("--results") + 1]] if "--results" in arguments else []
    print_targets(folders(given))
    if failed:
        sys.exit(f"Failed: {'; '.join(failed)}")


def _without(arguments: list[str], option: str) -> list[str]:
    """Arguments without an option and its value."""
    if option not in arguments:
        return arguments
    place = arguments.index(option)
    return arguments[:place] + arguments[place + 2 :]


if __name__ == "__main__":
    main()
