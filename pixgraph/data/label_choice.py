"""The pictures whose labels an experiment may use, kept in a file so that others use the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixgraph.data.json_files import read_json
from pixgraph.data.layout import some
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import DataError

FORMAT = "pixgraph-labels-1"
"""Version of the files that `LabelChoice.save` writes."""


@dataclass(frozen=True)
class LabelChoice:
    """Pictures whose labels may be used.

    Attributes:
        keys: Their sample keys, sorted.
        name: Name of the data set.
        split: Its split.
        seed: Seed of the choice.
        rule: How it was made, in words.
    """

    keys: tuple[str, ...]
    name: str
    split: str
    seed: int
    rule: str

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of data set, split and keys."""
        text = json.dumps([self.name, self.split, *self.keys], ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]

    def indices(self, split: SemanticSplit) -> list[int]:
        """Their indices in the split, ascending.

        Raises:
            DataError: The split lacks one of them.
        """
        places = {key: index for index, key in enumerate(split.keys)}
        unknown = [key for key in self.keys if key not in places]
        if unknown:
            raise DataError(
                f"labelled pictures: {some(unknown, 3)} not in {split.name} ({split.split}), expected the data set "
                f"that they were chosen from, {self.name} ({self.split}); check the folder and the split"
            )
        return sorted(places[key] for key in self.keys)

    def save(self, path: str | Path) -> None:
        """Write the choice as JSON; the file appears whole or not at all.

        Raises:
            DataError: The file cannot be written.
        """
        path = Path(path)
        content: dict[str, Any] = {"format": FORMAT, "hash": self.hash, "dataset": self.name, "split": self.split}
        content |= {"seed": self.seed, "rule": self.rule, "pictures": list(self.keys)}
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot write the labelled pictures ({error}); check folder and disk") from error

    @classmethod
    def load(cls, path: str | Path, split: SemanticSplit) -> LabelChoice:
        """Read a choice and look for its pictures in `split`.

        Raises:
            DataError: The file is missing, broken or edited, or names pictures that the split lacks.
        """
        try:
            content: Any = read_json(path, "the labelled pictures", "save them again")
            if content["format"] != FORMAT:
                raise DataError(f"{path}: got format {content['format']!r}, expected {FORMAT!r}; save the choice again")
            keys = tuple(str(key) for key in content["pictures"])
            choice = cls(keys, content["dataset"], content["split"], int(content["seed"]), str(content["rule"]))
            expected = content["hash"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot read the labelled pictures ({error!r}); save them again") from error
        if choice.hash != expected:
            raise DataError(f"{path}: got hash {choice.hash}, expected {expected}; it was edited, save it again")
        choice.indices(split)
        return choice
