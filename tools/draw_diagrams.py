"""Draws the Mermaid diagrams of docs/ as pictures for the site: `python tools/draw_diagrams.py` fills docs/images/diagrams/.

GitHub draws such diagrams itself. A page of the site would have to load Mermaid, which is several megabytes, from another host; so the site shows pictures. A picture
is named after the text of its diagram: where that changes, run this again. Until then the site shows the text. Needs npm and Chromium.
"""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that `python tools/draw_diagrams.py` finds `tools`

from tools.packages import Package, PackageError, fetch_npm_package  # noqa: E402


MERMAID = Package("mermaid", "11.17.2", "6ad2f42c3fc26bbf9e45cbb6d11898972573ea52b33a5f4ff51952899f950ffd", 18)
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURES = Path("images", "diagrams")
PAGE = """<html><body><script src="mermaid.min.js"></script><script>
mermaid.initialize({startOnLoad: false, theme: "neutral", htmlLabels: false, flowchart: {htmlLabels: false, useMaxWidth: false}});
mermaid.render("diagram", TEXT).then(drawn => document.body.innerHTML = drawn.svg);
</script></body></html>"""


def picture_of(diagram: str) -> Path:
    """Where the picture of a diagram stands, relative to docs/.

    Args:
        diagram: its text, as between the fences.

    Returns:
        a path that changes with the text.
    """
    return PICTURES / f"{hashlib.sha256(diagram.encode()).hexdigest()[:16]}.svg"


def draw(diagram: str, mermaid: Path) -> str:
    """A diagram as SVG on a white ground.

    Args:
        diagram: its text.
        mermaid: folder that holds `mermaid.min.js`.

    Raises:
        PackageError: Chromium is missing, or Mermaid cannot read the diagram.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise PackageError(
            "Diagrams are drawn with Chromium, which is not installed (Debian: apt-get install chromium)."
        )
    page = mermaid / "page.html"
    page.write_text(PAGE.replace("TEXT", repr(diagram)), encoding="utf-8")
    settings = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run([chromium, *settings, page.as_uri()], capture_output=True, text=True, check=False)
    found = re.search(r"<svg .*</svg>", done.stdout, re.DOTALL)
    if found is None:
        raise PackageError(f"Mermaid drew nothing of this diagram:\n{html.unescape(diagram)}")
    svg = found[0].replace("<br>", "<br/>")
    return svg.replace(">", '><rect width="100%" height="100%" fill="white"/>', 1) + "\n"


def main() -> None:
    docs = REPOSITORY / "docs"
    texts = [text for page in sorted(docs.rglob("*.md")) for text in DIAGRAM.findall(page.read_text(encoding="utf-8"))]
    shutil.rmtree(docs / PICTURES, ignore_errors=True)
    (docs / PICTURES).mkdir()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fetch_npm_package(MERMAID)) as archive:
        script = archive.extractfile("package/dist/mermaid.min.js")
        assert script is not None
        Path(folder, "mermaid.min.js").write_bytes(script.read())
        for text in texts:
            (docs / picture_of(text)).write_text(draw(text, Path(folder)), encoding="utf-8")
            print(docs / picture_of(text))


if __name__ == "__main__":
    try:
        main()
    except PackageError as error:
        sys.exit(str(error))
