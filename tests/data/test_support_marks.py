import numpy as np
import pytest
import torch
from fake_own import MemoryDataset
from fakes import rectangles
from test_tasks import Store

from pixgraph.data.episodes import Episode
from pixgraph.data.support_marks import KINDS, SupportMarks
from pixgraph.data.tasks import load_task, truth
from pixgraph.errors import ConfigError

MASK = np.zeros((40, 50), np.uint8)
MASK[5:25, 10:30] = 1
MASK[28:38, 30:45] = 2
MASK[:2] = 255


@pytest.mark.parametrize("kind", ["points", "scribbles"])
def test_marks_lie_on_their_class_and_the_rest_is_unlabelled(kind):
    label, rough = SupportMarks(kind, 4).draw(MASK.astype(np.int64), "a")
    assert rough is None
    known = label < 254
    assert (label[known] == MASK[known]).all()
    assert (label == 254).mean() > 0.5
    assert set(np.unique(label)) >= {0, 1, 2, 254}
    if kind == "points":
        assert [(label == c).sum() for c in (0, 1, 2)] == [4, 4, 4]


def test_boxes_are_likely_inside_and_background_outside():
    label, rough = SupportMarks("boxes").draw(MASK, "a")
    np.testing.assert_array_equal(rough, label > 0)
    np.testing.assert_array_equal(label, np.where(MASK == 255, 0, MASK))  # the objects are rectangles


def test_masks_stay_and_a_mix_draws_every_kind():
    label, rough = SupportMarks().draw(MASK, "a")
    assert rough is None
    np.testing.assert_array_equal(label, MASK)
    mix = SupportMarks("mix", 3)
    seen = set()
    for number in range(40):
        label, rough = mix.draw(MASK, f"p{number}")
        again, _ = mix.draw(MASK, f"p{number}")
        np.testing.assert_array_equal(label, again)
        marked = int((label < 254).sum())
        sparse = "points" if marked == 9 else "scribbles"
        seen.add("boxes" if rough is not None else "masks" if (label == MASK).all() else sparse)
    assert seen == set(KINDS)


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="support_annotation: got 'tags', expected one of masks, points"):
        SupportMarks("tags")
    with pytest.raises(ConfigError, match="num_points: got 0, expected at least 1"):
        SupportMarks("points", 0)


def test_only_the_supports_of_a_task_are_marked():
    masks = {name: rectangles((5, 2, 2, 12, 14), (255, 14, 16, 22, 30)) for name in "abc"}
    dataset = MemoryDataset(masks, {5: "x"})
    episode = Episode(0, (5,), ((0, 1),), (2,))
    whole = load_task(dataset, episode, Store())
    few = load_task(dataset, episode, Store(), marks=SupportMarks("points", 2))
    assert torch.equal(whole.query[0].label, few.query[0].label)
    for one, other in zip(whole.support, few.support, strict=True):
        known = other.label < 254
        assert [int((other.label == c).sum()) for c in (0, 1)] == [2, 2]
        assert torch.equal(one.label[known], other.label[known])
    assert load_task(dataset, episode, Store(), marks=SupportMarks("boxes")).support[0].rough.any()


def test_what_nobody_annotated_is_told_from_what_is_unknown():
    class Partial(MemoryDataset):
        """Half of the picture was never annotated."""

        def read_partial_mask(self, index):
            mask = self.read_mask(index).copy()
            mask[:, mask.shape[1] // 2 :] = 254
            return mask

    dataset = Partial({name: rectangles((5, 2, 2, 12, 14)) for name in "ab"}, {5: "x"})
    episode = Episode(0, (5,), ((0,),), (1,))
    assert set(np.unique(truth(dataset, 0, episode))) <= {0, 1, 255}
    assert set(np.unique(truth(dataset, 0, episode, partial=True))) == {0, 1, 254}
    task = load_task(dataset, episode, Store())
    assert (task.support[0].label == 254).any()
    assert not (task.query[0].label == 254).any()
