"""Keeping the scores of an evaluation in a run's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixgraph.errors import RunError

if TYPE_CHECKING:
    from pixgraph.evaluation.result import Evaluation
    from pixgraph.training.run import RunFolder


def keep_scores(folder: RunFolder, label: str, evaluation: Evaluation) -> None:
    """Write ``evaluations/LABEL.json``, and the same as ``evaluation`` into summary.json, where the report reads it.

    The ledger gets the mIoU of the main method as ``test_miou`` when the split is "test".

    Args:
        folder: The run.
        label: What was scored, e.g. ``"test-1way-5shot-pixgraph-v1"``.
        evaluation: The scores.

    Raises:
        RunError: The folder cannot be written.
    """
    from pixgraph.training.atomic import write_json
    from pixgraph.training.ledger import record_run
    from pixgraph.training.records import plain

    found: dict[str, Any] = plain(evaluation.to_dict())
    target = folder.path / "evaluations"
    try:
        target.mkdir(exist_ok=True)
        write_json(target / f"{label}.json", found)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; free space or change permissions") from error
    folder.summarise({"evaluation": found})
    miou = found["methods"][found["main"]]["miou"]
    if found["split"] == "test" and miou is not None:
        record_run(folder.path.parent, folder.path.name, {"test_miou": f"{miou:.4f}", "test": label})
