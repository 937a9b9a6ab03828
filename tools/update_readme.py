"""Fill the tables of README.md from the files that the benchmarks wrote.

Between ``<!-- results:NAME -->`` and ``<!-- /results -->`` goes benchmarks/results/NAME.md without its first heading,
as far as a line ``<!-- more -->`` if it has one, and a link to that file. Where there is no such file, what stands
there stays.

    python tools/update_readme.py            write README.md
    python tools/update_readme.py --check    write nothing; exit code 1 when README.md is not up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = "benchmarks/results"
MORE = "<!-- more -->"
_SECTION = re.compile(r"(<!-- results:([\w-]+) -->\n)(.*?)(<!-- /results -->)", re.DOTALL)


def result_text(markdown: str, source: str) -> str:
    r"""What the README shows of a result file.

    Args:
        markdown: Content of the file.
        source: Its path relative to the README, for the link.

    Returns:
        Text without the first heading and without what follows `MORE`; headings become bold lines.

    Example:
        >>> result_text("# accuracy\n\n| a |\n| --: |\n", "results/accuracy.md")
        '| a |\n| --: |\n\nFrom [results/accuracy.md](results/accuracy.md).'
    """
    lines = markdown.split(MORE)[0].strip().splitlines()
    if lines and lines[0].startswith("# "):
        lines = lines[1:]
    # A heading would cut the README's section in two.
    shown = [re.sub(r"^#+ +(.*)$", r"**\1**", line) for line in lines]
    return "\n".join(shown).strip() + f"\n\nFrom [{source}]({source})."


def updated(readme: str, folder: Path) -> tuple[str, list[str]]:
    """The README with its sections filled.

    Args:
        readme: Its text.
        folder: Holds the result files.

    Returns:
        The new text, and the names of sections that have no file.

    Raises:
        ValueError: A section is opened and never closed.
    """
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        opening, name, old, closing = match.groups()
        path = folder / f"{name}.md"
        if not path.is_file():
            missing.append(name)
            return match.group()
        if "<!-- results:" in old:
            raise ValueError(f"README.md: section results:{name} is not closed; expected <!-- /results --> after it")
        return f"{opening}\n{result_text(path.read_text(encoding='utf-8'), f'{RESULTS}/{name}.md')}\n\n{closing}"

    found = _SECTION.sub(fill, readme)
    if found.count("<!-- results:") != found.count("<!-- /results -->"):
        raise ValueError(
            "README.md: sections opened and closed differ in number; expected a <!-- /results --> for each"
        )
    return found, missing


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Update or check the README below `root`; 1 when `--check` finds it out of date, 2 when it cannot be filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = parser.parse_args(argv)
    path = root / "README.md"
    try:
        old = path.read_text(encoding="utf-8")
        new, missing = updated(old, root / RESULTS)
    except (OSError, ValueError) as error:
        print(f"update_readme: {error}", file=sys.stderr)
        return 2
    for name in missing:
        print(f"no {RESULTS}/{name}.md yet: section results:{name} stays as it is")
    if options.check:
        if old != new:
            print("README.md is not up to date; run python tools/update_readme.py", file=sys.stderr)
        return int(old != new)
    if old != new:
        path.write_text(new, encoding="utf-8")
    print("README.md was up to date" if old == new else "README.md updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
