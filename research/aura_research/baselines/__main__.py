"""Trains the baselines that keep their encoder, on the corpus of the packaged student: `python -m aura_research.baselines outputs`.

`bridge`: a frozen Whisper encoder, an adapter, the frozen LLM, taught to write answers and transcripts (BLSP's kind). `diva`: the same, taught at
its input what the LLM makes of the text (DiVA's kind). One process of one thread each, side by side. A run that was killed goes on from its last
checkpoint, one that is done is left alone; logs lie beside the folders.
"""

import argparse
import sys
from pathlib import Path

from aura_research.baselines.training import BASELINES, log_of, train_baselines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m aura_research.baselines", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("outputs", type=Path, help="folder that holds `corpus` and gets the baselines")
    parser.add_argument("--only", nargs="+", choices=list(BASELINES), default=list(BASELINES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    arguments = parser.parse_args()
    failed = train_baselines(arguments.only, arguments.outputs, arguments.set)
    for name in failed:
        print(f"error: {name} failed, see {log_of(arguments.outputs, name)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
