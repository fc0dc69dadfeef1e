"""What the page allows is what its docs say."""

from pathlib import Path

from transformers_aura.serving.web.limits import Limits


PAGE = Path(__file__).parents[3] / "docs" / "web.md"


def test_the_docs_name_the_limits() -> None:
    limits, text = Limits(), " ".join(PAGE.read_text(encoding="utf-8").split())
    assert limits.max_answers == 2
    for said in (
        f"A recording may have {limits.max_seconds:g} s",
        f"a file {limits.max_file_bytes // 1024**2} MB",
        f"an answer {limits.max_new_tokens} tokens",
        f"{limits.max_visitors} pages may be open",
        "two answers are computed at a time",
    ):
        assert said in text
