"""`python -m benchmarks NAME` runs `benchmarks/NAME.py` with the arguments behind it."""

import runpy
import sys


COMMANDS = ("first_token", "levels", "transcript_time")


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.exit(f"Name a benchmark: python -m benchmarks {' | '.join(COMMANDS)}")
    sys.argv = [f"benchmarks {name}", *sys.argv[2:]]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
