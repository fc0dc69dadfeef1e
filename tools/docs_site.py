"""The documentation as a site: `python tools/docs_site.py` puts its pages together in build/docs and builds them into site/ (`make docs`).

The pages of docs/ come over as they are, but for their links to what lies elsewhere in the repository. What they link to comes along under
build/docs/repository/: pages with what they link to in turn, other text files as pages that show them, folders as lists of their files. So every link of the
site leads to something, without a network, and belongs to the very version that the site is of.

The build fails on a link or anchor that leads nowhere, on a docstring that cannot be read, and on a page that loads anything from another host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that `python tools/docs_site.py` finds `tools`

from tools.draw_diagrams import DIAGRAM, picture_of  # noqa: E402


COMMENT = re.compile(r"^<!--.*?-->$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(\]\(\s*)([^)\s]+)")
LONGEST_SHOWN = 200_000
"""Bytes of a text file that is shown; of a longer one only its beginning is."""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)", re.IGNORECASE
)

PICTURES = {".gif", ".jpg", ".png", ".svg"}
HIDDEN = {"__pycache__"}


def put_together(repository: Path, out: Path) -> None:
    """Write the pages of the site.

    Args:
        repository: the checkout.
        out: folder of the result; what is there already is removed.

    Raises:
        FileNotFoundError: a page links to something that the repository does not hold.
    """
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(repository / "docs", out)
    seen = {page for page in (repository / "docs").rglob("*") if page.is_file()}
    waiting = [page for page in seen if page.suffix == ".md"]
    while waiting:
        page = waiting.pop()
        place = out / place_of(page, repository)
        place.parent.mkdir(parents=True, exist_ok=True)
        text, targets = with_links_of_the_site(page, repository)
        place.write_text(text, encoding="utf-8")
        for target in targets - seen:
            seen.add(target)
            if target.suffix == ".md":
                waiting.append(target)
            else:
                _bring(target, out / place_of(target, repository), target.relative_to(repository).as_posix())


def place_of(target: Path, repository: Path) -> Path:
    """Where a file or folder of the repository stands on the site, relative to its pages."""
    path = target.relative_to(repository)
    is_of_docs = path.parts[0] == "docs"
    path = path.relative_to("docs") if is_of_docs else Path("repository", *path.parts)
    if target.is_dir():
        return path / "files.md"
    return path if is_of_docs or path.suffix in {".md", *PICTURES} else path.with_name(path.name + ".md")


def with_links_of_the_site(page: Path, repository: Path) -> tuple[str, set[Path]]:
    """A page whose links lead to where their targets stand on the site, and those targets."""
    here = place_of(page, repository).parent
    targets = set()

    def moved(link: re.Match[str]) -> str:
        path, _, anchor = link[2].partition("#")
        if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
            return link[0]
        target = Path(os.path.normpath(page.parent / path))
        if not target.exists():
            raise FileNotFoundError(f"{page.relative_to(repository)} links to {link[2]}, which does not exist.")
        if target.is_dir() and (target / "README.md").exists():
            target /= "README.md"
        targets.add(target)
        place = Path(os.path.relpath(place_of(target, repository), here)).as_posix()
        return link[1] + place + (f"#{anchor}" if anchor else "")

    def drawn(diagram: re.Match[str]) -> str:
        picture = repository / "docs" / picture_of(diagram[1])
        if picture.is_file():
            return f"![Diagram]({Path(os.path.relpath(picture_of(diagram[1]), here)).as_posix()})"
        print(f"{page.relative_to(repository)}: a diagram is shown as text; `python tools/draw_diagrams.py` draws it")
        return diagram[0]

    text = page.read_text(encoding="utf-8")
    # A comment would join what stands above and below it: Python-Markdown sees no table there.
    text = "".join(part if is_code else COMMENT.sub("", LINK.sub(moved, part)) for is_code, part in _parts(text))
    return DIAGRAM.sub(drawn, text), targets


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces, each with whether it is code, in which nothing is a link."""
    end = 0
    for code in re.finditer(f"{FENCED.pattern}|{INLINE_CODE.pattern}", text, FENCED.flags):
        yield False, text[end : code.start()]
        yield True, code[0]
        end = code.end()
    yield False, text[end:]


def _bring(target: Path, place: Path, title: str) -> None:
    """A folder or a file that is no page, as a page; pictures as they are."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix in PICTURES:
        shutil.copyfile(target, place)
    elif target.is_dir():
        names = sorted(
            path.relative_to(target).as_posix()
            for path in target.rglob("*")
            if path.is_file() and not HIDDEN & set(path.parts)
        )
        place.write_text(_shown(title, "\n".join(names), "text"), encoding="utf-8")
    else:
        content = target.read_bytes()
        text = content[:LONGEST_SHOWN].decode("utf-8", errors="ignore")
        place.write_text(_shown(title, text, target.suffix.lstrip(".") or "text"), encoding="utf-8")


def _shown(title: str, text: str, language: str) -> str:
    return f"# {title}\n\n~~~~ {language}\n{text}\n~~~~\n"


def build(repository: Path) -> list[str]:
    """Build the site; returns what is wrong with it."""
    put_together(repository, repository / "build" / "docs")
    command = [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"]
    done = subprocess.run(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    output = COLOUR.sub("", done.stdout)
    print(output, end="")
    problems = [line for line in output.splitlines() if line.startswith("griffe:")]
    if done.returncode:
        problems.append(f"zensical ended with status {done.returncode}")
    for page in sorted((repository / "site").rglob("*.html")):
        hosts = other_hosts(page.read_text(encoding="utf-8"))
        problems += [f"{page.relative_to(repository)} loads {address}" for address in hosts]
    return problems


def other_hosts(page: str) -> list[str]:
    """Addresses on other hosts that a page of HTML loads something from."""
    return LOADED.findall(page)


if __name__ == "__main__":
    found = build(REPOSITORY)
    sys.exit("\n".join(["The site has faults:", *found]) if found else 0)
