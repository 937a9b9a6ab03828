"""Tables and large pictures of a run's page, kept in its folder beside the panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pixgraph.report.panels import Panel, panel_content, png_uri, write_panels


class Sheet(NamedTuple):
    """A large picture.

    Attributes:
        caption: What it shows.
        png: The file's bytes.
    """

    caption: str
    png: bytes


def save_sheets(
    run_folder: str | Path,
    label: str,
    title: str,
    sheets: Sequence[Sheet] = (),
    table: Sequence[Sequence[str]] = (),
    panels: Sequence[Panel] = (),
) -> Path:
    """Keep a section of a run's page as ``panels/LABEL.json``, where `write_report` finds it.

    Args:
        run_folder: The run.
        label: Name of the file; an older one of this name is replaced.
        title: Heading of the section.
        sheets: Large pictures.
        table: Rows of texts, the first one the head.
        panels: Rows of small pictures.

    Raises:
        RunError: The file cannot be written.
    """
    content = {
        "title": title,
        "panels": [panel_content(panel) for panel in panels],
        "table": [list(row) for row in table],
        "sheets": [{"caption": sheet.caption, "image": png_uri(sheet.png)} for sheet in sheets],
    }
    return write_panels(run_folder, label, content)
