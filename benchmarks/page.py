"""`docs/performance.md`: the targets, and every result with its plot, between the marks of the page; what stands around them is written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import targets
from benchmarks.results import Result, draw, read_results


PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def write(folders: Sequence[Path], page: Path = PAGE) -> None:
    """Fills the page with the results of some folders, and draws its plots into a folder of its name beside it."""
    results = read_results(*folders)
    text = page.read_text(encoding="utf-8")
    text = _filled(text, "targets", targets.to_markdown(results))
    plots = page.with_suffix("")
    for old in plots.glob("*.png"):
        old.unlink()
    text = _filled(text, "results", "\n\n".join(_section(name, of_one, plots) for name, of_one in _grouped(results)))
    page.write_text(text, encoding="utf-8")
    print(f"{page}: {len(results)} results")


def _grouped(results: Mapping[str, Result]) -> list[tuple[str, dict[str, Result]]]:
    """By benchmark, one thread and float32 first."""
    groups: dict[str, dict[str, Result]] = {}
    for stem, result in results.items():
        groups.setdefault(result.benchmark, {})[stem] = result
    return [
        (name, dict(sorted(of_one.items(), key=lambda pair: (not pair[0].endswith("float32"), pair[0]))))
        for name, of_one in groups.items()
    ]


def _section(benchmark: str, results: Mapping[str, Result], plots: Path) -> str:
    """A heading, and each result; of the first one, its plots."""
    first = next(iter(results.values()))
    parts = [f"### {benchmark.replace('_', ' ').capitalize()}", first.title]
    for number, (stem, result) in enumerate(results.items()):
        if len(results) > 1:
            settings = result.settings
            threads = f"{settings['threads']} thread{'s' * (settings['threads'] != 1)}"
            parts.append(
                f"**`{Path(settings['student']).name}`, {threads}, {settings['dtype']}, {settings['device']}**"
            )
        parts.append(result.to_markdown())
        for index, table in enumerate(result.tables if number == 0 else []):
            if table.reference and len(table.case_names) > 1:
                file = plots / f"{stem}-{index}.png"
                draw(table, file)
                parts.append(f"![{table.title}, ratios to: {table.reference}]({plots.name}/{file.name})")
    return "\n\n".join(parts)


def _filled(page: str, mark: str, content: str) -> str:
    """The page with `content` between the comments `<!-- mark: begin -->` and `<!-- mark: end -->`."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"The page has no {begin} with an {end} behind it.")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"
