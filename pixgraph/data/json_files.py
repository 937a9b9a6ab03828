"""JSON files that people write and programs mangle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixgraph.errors import DataError


def read_json(path: str | Path, what: str, advice: str) -> Any:
    """The content of a JSON file; a byte order mark, as some editors write it, is left out.

    Args:
        path: The file.
        what: What it holds, for the message.
        advice: What was expected, and what to do.

    Raises:
        DataError: The file is missing, not JSON, or nested too deeply.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise DataError(f"{path}: cannot read {what} (nested too deeply); {advice}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read {what} ({error}); {advice}") from error
