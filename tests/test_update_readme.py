import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("update_readme", ROOT / "tools" / "update_readme.py")
update_readme = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(update_readme)

README = """# x

<!-- results:speed -->
not measured
<!-- /results -->

between

<!-- results:none -->
old
<!-- /results -->
"""
SPEED = (
    "# speed\n\nby `python b.py`\n\n## Graphs\n\n| what | ms |\n| :-- | --: |\n| graph | 3 |\n\n<!-- more -->\n\nlong\n"
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "speed.md").write_text(SPEED)
    return tmp_path


def test_a_section_gets_its_file_and_others_stay(project, capsys):
    assert update_readme.main([], project) == 0
    text = (project / "README.md").read_text()
    shown = text.split("<!-- results:speed -->")[1].split("<!-- /results -->")[0]
    assert shown.splitlines() == [
        "",
        "",
        "by `python b.py`",
        "",
        "**Graphs**",
        "",
        "| what | ms |",
        "| :-- | --: |",
        "| graph | 3 |",
        "",
        "From [benchmarks/results/speed.md](benchmarks/results/speed.md).",
        "",
    ]
    assert text.endswith("between\n\n<!-- results:none -->\nold\n<!-- /results -->\n")
    assert "no benchmarks/results/none.md yet" in capsys.readouterr().out


def test_a_second_update_changes_nothing(project, capsys):
    assert update_readme.main([], project) == 0
    first = (project / "README.md").read_text()
    assert update_readme.main([], project) == 0
    assert (project / "README.md").read_text() == first
    assert capsys.readouterr().out.endswith("README.md was up to date\n")


def test_check_writes_nothing(project, capsys):
    assert update_readme.main(["--check"], project) == 1
    assert (project / "README.md").read_text() == README
    assert "README.md is not up to date; run python tools/update_readme.py" in capsys.readouterr().err
    update_readme.main([], project)
    assert update_readme.main(["--check"], project) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (README.replace("not measured\n<!-- /results -->", "not measured"), "results:speed is not closed"),
        (README.removesuffix("<!-- /results -->\n"), "opened and closed differ in number"),
    ],
)
def test_an_open_section_is_refused_and_nothing_written(project, capsys, text, message):
    (project / "README.md").write_text(text)
    assert update_readme.main([], project) == 2
    assert message in capsys.readouterr().err
    assert (project / "README.md").read_text() == text


def test_a_missing_readme_is_named(tmp_path, capsys):
    assert update_readme.main([], tmp_path) == 2
    assert "README.md" in capsys.readouterr().err


def test_the_readme_shows_the_measured_numbers(capsys):
    assert update_readme.main(["--check"]) == 0, "run python tools/update_readme.py"
