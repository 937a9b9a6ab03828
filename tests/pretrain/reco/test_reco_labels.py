import numpy as np
import pytest
from tiny_reco import tiny_config

from pixgraph.data.semantic import open_semantic
from pixgraph.errors import ConfigError
from pixgraph.pretrain.labelled_source import LabelledSource, RecoSource
from pixgraph.pretrain.reco.config import BudgetConfig
from pixgraph.pretrain.reco.labels import Annotation, choose, digest, make_source


@pytest.fixture(scope="module")
def split(camvid):
    return open_semantic(f"camvid:{camvid}", "train")


def test_a_budget_divides_the_pictures(split):
    labels = choose(split, BudgetConfig(num_labeled=2), 0)
    assert len(labels.choice.keys) == 2
    assert sorted([*labels.choice.keys, *labels.others]) == sorted(split.keys)
    assert len(choose(split, BudgetConfig(fraction=0.5), 0).choice.keys) == 3
    assert len(choose(split, BudgetConfig(), 0).choice.keys) == 6


def test_partial_or_complete_labels_are_used_on_all_pictures(split):
    assert choose(split, BudgetConfig(ratio="p1"), 0).others == list(split.keys)
    assert choose(split, BudgetConfig(num_labeled=2, ratio="p1"), 0).others == list(split.keys)
    assert choose(split, BudgetConfig(), 0).others == list(split.keys)


@pytest.mark.parametrize(("ratio", "share"), [("p0", 0), ("p1", 0.01), ("p5", 0.05), ("p25", 0.25), (None, 1)])
def test_annotations_keep_a_share_of_each_class(split, ratio, share):
    annotation = Annotation(list(split.keys), ratio, 0)
    label = split.read_label(1)
    known = annotation(label, split.keys[1])
    for c in np.unique(label[label < 254]):
        wanted = 1 if ratio == "p0" else share * (label == c).sum()
        assert abs((known == c).sum() - wanted) <= 1
        assert (label[known == c] == c).all()
    assert ((known == 255) == (label == 255)).all()
    assert (Annotation([], ratio, 0)(label, split.keys[1]) == 254).all()


def test_the_seed_chooses_and_the_digest_tells(split):
    budget = BudgetConfig(num_labeled=3)
    one, same, other = (choose(split, budget, seed) for seed in (0, 0, 1))
    assert one.choice == same.choice
    assert len({digest(split, labels) for labels in (one, same, other)}) == 2
    fixed = [choose(split, BudgetConfig(num_labeled=3, seed=0), seed).choice.keys for seed in (0, 1)]
    assert fixed[0] == fixed[1] == one.choice.keys


def test_sources(split, camvid):
    config = tiny_config(camvid)
    labels = choose(split, config.labels, 0)
    assert isinstance(make_source(split, labels, config), LabelledSource)
    config = tiny_config(camvid, mixing="cutmix")
    source = make_source(split, labels, config)
    assert isinstance(source, RecoSource)
    assert (source.labelled.augment, source.unlabelled.augment) == (True, False)
    assert source.unlabelled.config.scale == [1.0, 1.0]
    assert source.unlabelled.hidden
    partial = choose(split, BudgetConfig(ratio="p5"), 0)
    assert not make_source(split, partial, config).unlabelled.hidden


def test_mistakes_are_told(split):
    with pytest.raises(ConfigError, match="num_labeled: got 7, expected 1 to 6, the labelled pictures of camvid"):
        choose(split, BudgetConfig(num_labeled=7), 0)
    with pytest.raises(ConfigError, match=r"no picture of the 1 chosen shows car, .* raise the number"):
        choose(split, BudgetConfig(num_labeled=1, min_classes=1), 0)
