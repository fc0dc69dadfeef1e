"""`python -m tests.fuzz`: the campaign, and the page that it fills."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.fuzz import audio_files, chats, evaluation_files, manifests, pipeline_calls, recipes, samples, students
from tests.fuzz.campaign import Area, run_apart, run_here
from tests.fuzz.report import table, write_page


AREAS: dict[str, Area] = {
    module.__name__.rpartition(".")[2]: module.AREA
    for module in (audio_files, samples, chats, pipeline_calls, manifests, recipes, evaluation_files, students)
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="how many, over all areas by their shares")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--area", action="append", choices=AREAS, help="only these")
    parser.add_argument(
        "--here", choices=AREAS, help="one area in this process, as lines of JSON (for the campaign itself)"
    )
    parser.add_argument("--write", type=Path, help="fill the counts into this page")
    parser.add_argument(
        "--faults", type=Path, default=Path("outputs/fuzz/faults.jsonl"), help="where inputs that went wrong are kept"
    )
    options = parser.parse_args()
    if options.here:
        for chunk in run_here(AREAS[options.here], options.seed, options.inputs):
            print(json.dumps(chunk), flush=True)
        return 0
    tallies = {}
    options.faults.parent.mkdir(parents=True, exist_ok=True)
    with options.faults.open("w", encoding="utf-8") as kept:
        for name in options.area or AREAS:
            area = AREAS[name]
            inputs = options.inputs if options.area else round(options.inputs * area.share)
            tallies[name] = tally = run_apart(name, options.seed * 1_000_003, inputs)
            print(f"{time.strftime('%H:%M:%S')} {name}: {dict(tally.counts)} in {tally.seconds:.0f} s", flush=True)
            for fault in tally.faults:
                kept.write(json.dumps({"area": name, **vars(fault)}) + "\n")
    print(table(AREAS, tallies))
    if options.write:
        write_page(options.write, AREAS, tallies, options.seed)
    faults = sum(len(tally.faults) for tally in tallies.values())
    if faults:
        print(f"{faults} faults: see {options.faults}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
