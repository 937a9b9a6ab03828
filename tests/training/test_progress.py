"""What a person sees where there is no terminal: a line at each validation."""

import io
import re

from pixgraph.training.progress import Progress


def test_a_validation_tells_the_mean_loss_since_the_last_one():
    stream = io.StringIO()
    progress = Progress(10, stream=stream)
    for loss in (1.0, 2.0):
        progress.step(loss)
    progress.validated(2, 0.25, 0.5)
    progress.step(4.0)
    progress.validated(3, 0.5, 0.5)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"step 2/10  loss 1\.5000  val mIoU 0\.2500  best 0\.5000  \d+\.\d\d s/step", first)
    assert second.startswith("step 3/10  loss 4.0000  val mIoU 0.5000")


def test_no_loss_is_told_before_the_first_step():
    stream = io.StringIO()
    Progress(10, start=5, stream=stream).validated(5, 0.25, 0.5)
    assert stream.getvalue() == "step 5/10  val mIoU 0.2500  best 0.5000\n"


def test_nothing_is_shown_by_other_processes():
    stream = io.StringIO()
    progress = Progress(10, shown=False, stream=stream)
    progress.step(1.0)
    progress.validated(1, 0.1, 0.1)
    progress.note("x")
    assert stream.getvalue() == ""
