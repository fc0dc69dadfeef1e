"""The recordings that the processor's tests name by their URL, as clips of this repository. Nothing is fetched."""

from pathlib import Path


SPEECH = Path(__file__).parents[2] / "tests" / "fixtures" / "speech"
_CLIPS = {"glass-breaking-151256.mp3": "order_01.flac", "f2641_0_throatclearing.wav": "order_02.flac"}


def url_to_local_path(url: str) -> str:
    """The clip that stands for `url`; pictures and videos, which no test here opens, keep theirs."""
    clip = _CLIPS.get(url.rpartition("/")[2])
    return url if clip is None else str(SPEECH / clip)
