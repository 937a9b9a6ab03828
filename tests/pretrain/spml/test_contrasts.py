"""The four relations on a small batch, against loops over pixels and segments."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.pretrain.spml.cells import labels_on_cells, regions_on_cells
from pixgraph.pretrain.spml.contrasts import (
    Pixels,
    affinity_contrast,
    affinity_tags,
    annotation_contrast,
    co_occurrence_contrast,
    near_labels,
    similarity_contrast,
)
from pixgraph.pretrain.spml.kmeans import located
from pixgraph.pretrain.spml.memory import Known, MemoryBank
from pixgraph.pretrain.spml.relations import TABLE, strengths
from pixgraph.pretrain.spml.segments import directions, split_segments

CLASSES = 3


def small_batch(seed=0, pictures=3, side=6):
    """Pixels, segments, tags and what is known of a batch whose last row is outside."""
    rng = np.random.default_rng(seed)
    unit = F.normalize(torch.from_numpy(rng.standard_normal((pictures, 4, side, side))), dim=1)
    label = torch.from_numpy(rng.choice([0, 1, 2, 254, 254], (pictures, side, side)))
    label[:, -1] = 255
    clusters = torch.from_numpy(rng.integers(0, 2, (pictures, side, side)))
    region = torch.from_numpy(rng.integers(0, 3, (pictures, side, side)))
    segments = split_segments(clusters, label, region)
    inside = segments.id >= 0
    maps = unit.permute(0, 2, 3, 1)[inside], located(unit).permute(0, 2, 3, 1)[inside]
    pixels = Pixels(*maps, segments.id[inside])
    tags = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.bool)[:pictures]
    affinity = affinity_tags(pixels, segments, CLASSES)
    direction = directions(pixels.unit, pixels.segment, len(segments.label))
    return pixels, segments, tags, Known(direction, segments.label, segments.image, tags[segments.image], affinity)


def loops(vectors, own, prototypes, judge, k):
    """Mean over the pixels to which their own segment is positive; judge(c, j): what one of segment c says of j."""
    values = []
    for v, c in zip(vectors, own, strict=True):
        if judge(c, c) <= 0:
            continue
        s = [math.exp(k * float(v @ p)) for p in prototypes]
        positive = [j for j in range(len(s)) if j != c and judge(c, j) > 0]
        top = sum(s[j] for j in positive) if positive else s[c]
        values.append(-math.log(top / (top + sum(s[j] for j in range(len(s)) if judge(c, j) < 0))))
    return float(np.mean(values))


def meet(a, b):
    return 0 if not (a.any() and b.any()) else 1 if (a & b).any() else -1


def test_annotation_with_the_bank_equals_loops():
    pixels, _, _, own = small_batch()
    _, _, _, other = small_batch(1)
    known = own.joined(other)
    label = known.label.tolist()

    def judge(c, j):
        return 0 if 254 in (label[c], label[j]) else 1 if label[c] == label[j] else -1

    expected = loops(pixels.unit, pixels.segment.tolist(), known.direction, judge, 6.0)
    assert float(annotation_contrast(pixels, known, CLASSES, 6.0).value) == pytest.approx(expected, rel=1e-9)


def test_annotation_knows_no_names_of_classes():
    pixels, _, _, known = small_batch()
    expected = annotation_contrast(pixels, known, CLASSES, 6.0)
    renamed = torch.where(known.label < CLASSES, (known.label + 1) % CLASSES, known.label)
    found = annotation_contrast(pixels, known._replace(label=renamed), CLASSES, 6.0)
    torch.testing.assert_close(found.value, expected.value)


def test_co_occurrence_with_the_bank_equals_loops():
    pixels, _, tags, own = small_batch()
    _, _, _, other = small_batch(1)
    known = own.joined(other._replace(image=other.image - 100))
    expected = loops(
        pixels.unit, pixels.segment.tolist(), known.direction, lambda c, j: meet(known.tags[c], known.tags[j]), 8.0
    )
    assert float(co_occurrence_contrast(pixels, known, tags, 8.0).value) == pytest.approx(expected, rel=1e-9)


def test_pictures_of_background_alone_take_no_part_in_co_occurrence():
    pixels, _, tags, known = small_batch()
    none = torch.zeros_like(tags)
    found = co_occurrence_contrast(pixels, known._replace(tags=none[known.image]), none, 8.0)
    assert float(found.value) == found.chance == 0


def test_similarity_is_the_mean_over_pictures_of_loops_inside_each():
    pixels, segments, _, _ = small_batch()
    direction = directions(pixels.located, pixels.segment, len(segments.label))
    means = []
    for picture in range(3):
        mine = segments.image[pixels.segment] == picture

        def judge(c, j, picture=picture):
            if int(segments.image[j]) != picture:
                return 0
            return 1 if segments.region[c] == segments.region[j] else -1

        means.append(loops(pixels.located[mine], pixels.segment[mine].tolist(), direction, judge, 16.0))
    assert float(similarity_contrast(pixels, segments, 16.0).value) == pytest.approx(np.mean(means), rel=1e-9)


def test_affinity_takes_the_nearest_sure_label_of_the_same_picture():
    pixels, segments, _, _ = small_batch()
    direction = directions(pixels.located, pixels.segment, len(segments.label))
    tags = affinity_tags(pixels, segments, CLASSES)
    for s, label in enumerate(segments.label.tolist()):
        if label < CLASSES:
            expected = {label}
        else:
            same = [j for j in range(len(direction)) if segments.image[j] == segments.image[s]]
            near = max(
                (j for j in same if segments.label[j] < CLASSES), key=lambda j: float(direction[s] @ direction[j])
            )
            sure = float(direction[s] @ direction[near]) >= 0.95
            expected = {int(segments.label[near])} if sure else {0, 1, 2}
        assert set(tags[s].nonzero()[:, 0].tolist()) == expected


def test_affinity_finds_a_sure_neighbour_and_never_one_of_another_picture():
    vectors = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0.05, 0], [0, 1, 0], [1, 0, 0]]), dim=1)
    label = torch.tensor([[[0, 254, 254]], [[254, 255, 255]]])
    segments = split_segments(torch.tensor([[[0, 1, 2]], [[0, 0, 0]]]), label)
    pixels = Pixels(vectors, vectors, segments.id[segments.id >= 0])
    assert affinity_tags(pixels, segments, 2).tolist() == [[True, False], [True, False], [True, True], [True, True]]


def test_nearer_labels_are_taken_over_the_sooner():
    vectors = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0.05, 0], [1, 1, 0]]), dim=1)
    segments = split_segments(torch.tensor([[[0, 1, 2]]]), torch.tensor([[[1, 254, 254]]]))
    pixels = Pixels(vectors, vectors, segments.id[segments.id >= 0])
    assert near_labels(pixels, segments, 0.95).tolist() == [1, 1, 254]
    assert near_labels(pixels, segments, 0.5).tolist() == [1, 1, 1]


def test_affinity_contrast_equals_loops():
    pixels, _, _, known = small_batch()
    expected = loops(
        pixels.unit,
        pixels.segment.tolist(),
        known.direction,
        lambda c, j: meet(known.affinity[c], known.affinity[j]),
        12.0,
    )
    assert float(affinity_contrast(pixels, known, 12.0).value) == pytest.approx(expected, rel=1e-9)


def test_an_empty_batch_has_no_loss():
    empty = torch.full((2, 4, 4), 255)
    segments = split_segments(torch.zeros(2, 4, 4, dtype=torch.int64), empty)
    unit = torch.zeros(0, 4, requires_grad=True)
    pixels = Pixels(unit, torch.zeros(0, 6, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    assert float(similarity_contrast(pixels, segments, 16.0).value.detach()) == 0
    known = Known(
        directions(unit, pixels.segment, 0),
        segments.label,
        segments.image,
        torch.zeros(0, 3, dtype=torch.bool),
        affinity_tags(pixels, segments, 3),
    )
    tags = torch.ones(2, 3, dtype=torch.bool)
    for found in (
        annotation_contrast(pixels, known, 3, 6.0),
        co_occurrence_contrast(pixels, known, tags, 8.0),
        affinity_contrast(pixels, known, 8.0),
    ):
        assert float(found.value.detach()) == 0


def test_the_bank_keeps_two_batches_newest_first_without_gradient_and_apart():
    bank = MemoryBank(2, 100, 4, CLASSES)
    assert len(bank.segments().label) == 0
    batches = [small_batch(seed)[3] for seed in range(3)]
    for known in batches:
        bank.push(known._replace(direction=known.direction.clone().requires_grad_()))
    kept = bank.segments()
    sizes = [len(batches[2].label), len(batches[1].label)]
    torch.testing.assert_close(kept.direction[: sizes[0]], batches[2].direction.float())
    torch.testing.assert_close(kept.direction[sizes[0] :], batches[1].direction.float())
    assert torch.equal(kept.label, torch.cat([batches[2].label, batches[1].label]))
    assert torch.equal(kept.tags, torch.cat([batches[2].tags, batches[1].tags]))
    assert not kept.direction.requires_grad
    assert int(kept.image.max()) < 0
    assert not set(kept.image[: sizes[0]].tolist()) & set(kept.image[sizes[0] :].tolist())


def test_a_full_bank_keeps_segments_at_even_distances_and_its_state_restores_it():
    known = small_batch()[3]
    bank, other = MemoryBank(1, 5, 4, CLASSES), MemoryBank(1, 5, 4, CLASSES)
    bank.push(known)
    places = [i * len(known.label) // 5 for i in range(5)]
    torch.testing.assert_close(bank.segments().direction, known.direction[places].float())
    other.load_state_dict(bank.state_dict())
    for mine, its in zip(bank.segments(), other.segments(), strict=True):
        assert torch.equal(mine, its)
    none = MemoryBank(0, 5, 4, CLASSES)
    none.push(known)
    assert len(none.segments().label) == 0


def test_cells_keep_single_marks_and_tell_ignored_from_unlabelled():
    label = torch.full((1, 8, 8), 254)
    label[0, 1, 2] = 2  # one pixel of sixteen
    label[0, 4:, 4:] = 255
    label[0, 4, 0], label[0, 5, 0], label[0, 6, 1] = 0, 1, 1
    label[0, :4, 4:] = 255
    label[0, 3, 7] = 254
    assert labels_on_cells(label, (2, 2), 3).tolist() == [[[2, 254], [1, 255]]]


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (1, 1)])
def test_cells_equal_loops(size):
    rng = np.random.default_rng(0)
    label = torch.from_numpy(rng.choice([0, 1, 2, 254, 255], (2, 10, 13)))
    found = labels_on_cells(label, size, 3)
    for b, y, x in np.ndindex(2, *size):
        inside = [
            int(label[b, r, c])
            for r in range(10)
            for c in range(13)
            if r * size[0] // 10 == y and c * size[1] // 13 == x
        ]
        counts = [inside.count(c) for c in range(3)]
        expected = counts.index(max(counts)) if max(counts) else 254 if 254 in inside else 255
        assert int(found[b, y, x]) == expected


def test_a_cell_has_the_region_of_its_middle():
    region = torch.arange(64).view(1, 8, 8)
    assert regions_on_cells(region, (2, 2)).tolist() == [[[18, 22], [50, 54]]]


def test_published_settings_and_their_replacement():
    assert strengths("points")["sem_occ"] == (0.1, 8.0)
    assert strengths("scribbles")["sem_ann"] == (1.0, 6.0)
    assert strengths("scribbles")["sem_occ"] == (0.5, 12.0)
    assert strengths("boxes") == strengths("tags")
    assert set(strengths("points")) == {"sem_ann", "sem_occ", "img_sim"}
    assert set(strengths("landmarks")) == {"sem_ann", "img_sim", "feat_aff"}
    assert strengths("none") == {}
    changed = strengths("points", {"sem_occ": 0.0, "feat_aff": 0.2}, {"img_sim": 4.0})
    assert changed["img_sim"] == (0.1, 4.0)
    assert changed["feat_aff"] == (0.2, 12.0)
    assert "sem_occ" not in changed
    assert set(TABLE) == {"masks", "points", "scribbles", "boxes", "tags", "landmarks", "none"}
