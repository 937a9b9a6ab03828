import json

import numpy as np
import pytest
from fake_own import MemoryDataset

from pixgraph.data.budget import LabelChoice, choose_labelled, require_classes
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError, DataError


def pictures(rows: list[tuple[int, ...]], classes: int = 5, labelled: int | None = None) -> SemanticSplit:
    """One-row pictures that show the given classes and background; the rest are unlabelled after `labelled`."""
    masks = {f"p{i:03d}": np.array([[0, *row]], np.uint8) for i, row in enumerate(rows)}
    if labelled is not None:
        masks = {key: mask if i < labelled else None for i, (key, mask) in enumerate(masks.items())}
    return SemanticSplit(MemoryDataset(masks, {c: f"class {c}" for c in range(1, classes + 1)}, "train"))


def random_split(count: int = 60, seed: int = 0) -> SemanticSplit:
    """Pictures of 1 to 4 of 8 classes, the last one rare."""
    rng = np.random.default_rng(seed)
    chance = np.array([8, 8, 8, 4, 4, 4, 2, 0.5])
    return pictures(
        [tuple(rng.choice(8, rng.integers(1, 5), False, chance / chance.sum()) + 1) for _ in range(count)], 8
    )


def by_the_loop(split: SemanticSplit, count: int, least: int, seed: int) -> list[str]:
    """The rule of the original as a plain loop over a queue of pictures."""
    keys = sorted(split.keys)
    order = [keys[i] for i in np.random.default_rng([seed, 0xB0D6E7]).permutation(len(keys))]
    classes = {key: set(np.unique(split.read_label(i)).tolist()) for i, key in enumerate(split.keys)}
    seen = dict.fromkeys(range(split.classes), 0)
    queue, chosen = list(order), []
    while len(chosen) < count:
        lowest = {c for c, n in seen.items() if n == min(seen.values())}
        place = next(i for i, key in enumerate(queue) if classes[key] & lowest and len(classes[key]) >= least)
        key = queue[place]
        queue = queue[place + 1 :] + queue[:place]  # those that were passed over come again at the end
        for c in classes[key]:
            seen[c] += 1
        chosen.append(key)
    return chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("count", "least"), [(8, 2), (10, 3), (5, 1)])
def test_the_choice_is_that_of_the_loop(count, least, seed):
    split = random_split()
    choice = choose_labelled(split, count, seed=seed, min_classes=least, allow_missing=True)
    assert choice.keys == tuple(sorted(by_the_loop(split, count, least, seed)))


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_balanced_better_than_by_chance(seed):
    split = random_split(200, seed)
    shows = split.shows()
    chosen = choose_labelled(split, 24, seed=seed).indices(split)
    by_chance = np.random.default_rng(seed).permutation(200)[:24]
    assert shows[chosen].sum(0).min() > shows[by_chance].sum(0).min()
    assert shows[chosen].sum(0).min() >= 3


def test_smaller_budgets_are_subsets_and_order_of_files_does_not_matter():
    split = random_split()
    small, large = (set(choose_labelled(split, n, seed=3, allow_missing=True).keys) for n in (7, 20))
    assert small < large
    masks = dict(zip(split.keys, split.dataset.masks, strict=True))
    turned = SemanticSplit(MemoryDataset(dict(reversed(masks.items())), split.dataset.class_names, "train"))
    assert choose_labelled(turned, 20, seed=3).keys == choose_labelled(split, 20, seed=3).keys
    assert choose_labelled(split, 20, seed=4).keys != choose_labelled(split, 20, seed=3).keys


def test_fractions_count_the_labelled_pictures():
    split = pictures([(1, 2)] * 10 + [(3,)] * 30, 3, labelled=30)
    assert len(choose_labelled(split, fraction=0.5)) == 15
    assert len(choose_labelled(split, fraction=0.01, allow_missing=True)) == 1
    everything = choose_labelled(split)
    assert everything.indices(split) == list(range(30))
    assert everything == choose_labelled(split, fraction=1.0) == choose_labelled(split, 30)


def test_rare_classes_run_out_and_rich_pictures_may_be_missing():
    split = pictures([(1,)] + [(2, 3)] * 9, 3)
    assert "p000" in choose_labelled(split, 3, min_classes=3).keys  # too few classes, and the only one with class 1
    assert len(choose_labelled(split, 9, min_classes=4)) == 9  # no picture has 4


def test_a_class_that_no_picture_shows_is_nobodys_fault():
    assert len(choose_labelled(pictures([(1,), (1, 2)], 5), 2)) == 2


def test_a_class_on_no_labelled_picture_cannot_be_learned():
    require_classes(pictures([(1,), (2, 3)], 3))
    with pytest.raises(DataError, match=r"memory \(train\): none of the 2 labelled pictures shows class 3, expected"):
        require_classes(pictures([(1,), (1, 2), (3,)], 3, labelled=2))


def test_pictures_without_any_mask_are_no_budget():
    with pytest.raises(DataError, match=r"memory \(train\): none of the 2 pictures is labelled, expected some; add"):
        choose_labelled(pictures([(1,), (2,)], 2, labelled=0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_labeled": 7}, r"num_labeled: got 7, expected 1 to 6, the labelled pictures of memory \(train\)"),
        ({"num_labeled": 0}, "num_labeled: got 0, expected 1 to 6"),
        ({"fraction": 0.0}, "fraction: got 0.0, expected more than 0 and at most 1"),
        ({"fraction": 1.5}, "fraction: got 1.5"),
        ({"num_labeled": 2, "fraction": 0.5}, "num_labeled: got 2 beside fraction 0.5, expected one of them"),
        ({"num_labeled": 2, "min_classes": 9}, "min_classes: got 9, expected 1 to the 7 classes"),
        ({"num_labeled": 2, "seed": -1}, "seed: got -1"),
        ({"num_labeled": 2}, "no picture of the 2 chosen shows class .*, expected every class of memory"),
    ],
)
def test_bad_budgets_say_what_is_wrong(settings, words):
    split = pictures([(c,) for c in range(1, 7)] + [(1,)], 6, labelled=6)
    with pytest.raises(ConfigError, match=words):
        choose_labelled(split, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_labeled": 7}, r"^labels\.num_labeled: got 7, expected 1 to 2"),
        ({"fraction": 2.0}, r"^labels\.fraction: got 2\.0"),
        ({"min_classes": 9}, r"^labels\.min_classes: got 9"),
        ({"num_labeled": 1, "fraction": 0.5}, r"^labels\.num_labeled: got 1 beside labels\.fraction 0\.5"),
        ({"num_labeled": 1}, r"^labels\.num_labeled: no picture of the 1 chosen shows class"),
    ],
)
def test_settings_have_the_names_that_the_user_knows(settings, words):
    with pytest.raises(ConfigError, match=words):
        choose_labelled(pictures([(1,), (2,)], 2), **settings, option="labels.num_labeled")


def test_a_choice_is_saved_hashed_and_found_again(tmp_path):
    split = random_split()
    choice = choose_labelled(split, 12, seed=1)
    path = tmp_path / "labelled.json"
    choice.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["labelled.json"]
    assert LabelChoice.load(path, split) == choice
    assert json.loads(path.read_text())["hash"] == choice.hash
    assert len({choice.hash, choose_labelled(split, 12, seed=2).hash, choose_labelled(split, 13, seed=1).hash}) == 3


def test_files_that_do_not_fit_are_refused(tmp_path):
    split = random_split()
    path = tmp_path / "labelled.json"
    with pytest.raises(DataError, match=r"cannot read the labelled pictures"):
        LabelChoice.load(path, split)
    choose_labelled(split, 12).save(path)
    with pytest.raises(DataError, match=r"not in memory \(train\), expected the data set that they were chosen from"):
        LabelChoice.load(path, random_split(5))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "pictures": content["pictures"][1:]}))
    with pytest.raises(DataError, match=r"got hash .*, expected .*; it was edited"):
        LabelChoice.load(path, split)
    path.write_text(json.dumps({**content, "format": "other"}))
    with pytest.raises(DataError, match=r"got format 'other'"):
        LabelChoice.load(path, split)
    with pytest.raises(DataError, match=r"cannot write the labelled pictures"):
        choose_labelled(split, 12).save(tmp_path / "absent" / "labelled.json")
