"""How the pages of the site are put together, and what makes its build fail."""

from pathlib import Path

import pytest

from tools.docs_site import other_hosts, put_together
from tools.draw_diagrams import picture_of


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "docs/index.md": "[a](guide/a.md#part) [r](../recipes/one.yaml) [f](../recipes) `[c](none.md)` [w](https://host/x) [s](#top)\n",
        "docs/guide/a.md": "# A\n\n## Part\n\n![p](../images/p.svg) [n](../../notes/n.md#end)\n\n```\n[c](none.md)\n```\n",
        "docs/images/p.svg": "<svg/>",
        "recipes/one.yaml": "name: one\n",
        "notes/n.md": "# End\n\n[back](../docs/index.md) [i](../docs/images) [o](other/README.md) [p](p.png)\n",
        "notes/other/README.md": "# Other\n",
        "notes/p.png": "picture",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_links_out_of_docs_lead_to_pages_that_come_along(repository: Path) -> None:
    out = repository / "build"
    put_together(repository, out)
    read = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert read["index.md"] == (
        "[a](guide/a.md#part) [r](repository/recipes/one.yaml.md) [f](repository/recipes/files.md) `[c](none.md)` [w](https://host/x) [s](#top)\n"
    )
    assert "[n](../repository/notes/n.md#end)" in read["guide/a.md"]
    assert "\n[c](none.md)\n" in read["guide/a.md"]
    assert read["repository/recipes/one.yaml.md"] == "# recipes/one.yaml\n\n~~~~ yaml\nname: one\n\n~~~~\n"
    assert "\none.yaml\n" in read["repository/recipes/files.md"]
    # What comes along brings what it links to, and links back.
    assert (
        read["repository/notes/n.md"]
        == "# End\n\n[back](../../index.md) [i](../../images/files.md) [o](other/README.md) [p](p.png)\n"
    )
    assert {"repository/notes/other/README.md", "repository/notes/p.png", "images/p.svg"} <= read.keys()


def test_diagrams_become_pictures_where_there_are_any(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = repository / "docs" / "guide" / "a.md"
    page.write_text("<!-- a comment -->\n| a |\n|---|\n\n```mermaid\nflowchart\n```\n\n```mermaid\nother\n```\n")
    picture = repository / "docs" / picture_of("flowchart\n")
    picture.parent.mkdir(parents=True)
    picture.write_text("<svg/>")
    put_together(repository, repository / "build")
    text = (repository / "build" / "guide" / "a.md").read_text()
    assert (
        text
        == f"\n| a |\n|---|\n\n![Diagram](../{picture_of('flowchart').parent}/{picture.name})\n\n```mermaid\nother\n```\n"
    )
    assert "guide/a.md: a diagram is shown as text" in capsys.readouterr().out


def test_a_link_to_nothing_is_an_error_that_names_the_page(repository: Path) -> None:
    (repository / "notes" / "n.md").write_text("[gone](gone.md)\n")
    with pytest.raises(FileNotFoundError, match=r"notes/n\.md links to gone\.md"):
        put_together(repository, repository / "build")


def test_what_a_page_loads_from_other_hosts_is_found() -> None:
    page = '<a href="https://host/x">x</a><script src="https://cdn/x.js"></script><link rel=icon href=//cdn/i.png><img src="i.png">'
    assert other_hosts(page) == ["https://cdn/x.js", "//cdn/i.png"]
