"""Where things lie: the research project is run from a checkout, beside the product."""

from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / "research" / "recipes"
"""One recipe a stage of the student that ships."""

FIXTURES = REPOSITORY / "tests" / "fixtures" / "speech" / "manifest.jsonl"
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
"""Recordings that do not come with the repository, beside the checkout."""
