"""A student between two: what was trained, averaged weight by weight.

    python -m aura_research.average_students hub_cards/before outputs/aura-smollm2-135m hub_cards/aura-smollm2-135m --share 0.6

Where the second was trained on from the first, the mean forgets less of what the first learned and keeps most of what the second learned
(Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). All else is the second's.
"""

import argparse
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from transformers_aura.hub import HubError
from transformers_aura.hub.export import new_folder
from transformers_aura.hub.push import PUSHED_FILES
from transformers_aura.hub.repo_folder import RepoFolder


def average_students(first: Path, second: Path, out: Path, share: float) -> None:
    """
    Writes `(1 - share) * first + share * second` into the new folder `out`.

    Args:
        first, second (`Path`): compact students of the same shape and base.
        share (`float`): of the second, between 0 and 1.

    Raises:
        HubError: the students have other weights or bases.
        ValueError: `share` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must lie between 0 and 1, got {share}.")
    if RepoFolder.read(first).config.base_fingerprint != RepoFolder.read(second).config.base_fingerprint:
        raise HubError(f"{first} and {second} have other base LLMs, so there is nothing between them.")
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (first, second))
    if {name: w.shape for name, w in ours.items()} != {name: w.shape for name, w in theirs.items()}:
        raise HubError(f"{first} and {second} are of other shapes, so there is nothing between them.")
    with new_folder(out) as folder:
        for path in sorted(second.iterdir()):
            if any(path.match(pattern) for pattern in PUSHED_FILES):
                shutil.copy2(path, folder / path.name)
        mean = {
            name: ((1 - share) * ours[name].float() + share * weight.float()).to(weight.dtype)
            for name, weight in theirs.items()
        }
        save_file(mean, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    arguments = parser.parse_args()
    try:
        average_students(arguments.first, arguments.second, arguments.out, arguments.share)
    except (HubError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
