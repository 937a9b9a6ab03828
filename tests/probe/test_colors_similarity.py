import numpy as np

from pixgraph.probe.colors import pca_colors
from pixgraph.probe.embedding import Embedding
from pixgraph.probe.similarity import heat, mark, similarity_at, similarity_map


def _clusters(noise_picture, seed):
    """A picture whose left, middle and right thirds are three clusters."""
    picture = noise_picture(seed)
    for f in picture.features:
        third = f.shape[2] // 3
        for i in range(3):
            f[:, :, i * third : (i + 1) * third] *= 0.02
            f[i, :, i * third : (i + 1) * third] += 3
    return picture


def test_clusters_get_colours_of_their_own_in_all_pictures(noise_picture):
    pictures = [_clusters(noise_picture, seed) for seed in (0, 1)]
    painted = pca_colors(pictures, Embedding(pictures, [0, 1]))
    assert [p.shape for p in painted] == [(32, 48, 3)] * 2
    # Three clusters span two components; the third is noise.
    middles = np.array([[p[8:24, x : x + 4, :2].reshape(-1, 2).mean(0) for x in (6, 22, 38)] for p in painted])
    assert np.abs(middles[0] - middles[1]).max() < 30
    apart = [np.abs(middles[0, i] - middles[0, j]).max() for i in range(3) for j in range(i)]
    assert min(apart) > 90


def test_fewer_than_three_channels_leave_colours_dark(noise_picture):
    picture = noise_picture()
    picture.features = [f[:2] for f in picture.features]
    painted = pca_colors([picture], Embedding([picture], [0]))[0]
    assert painted[..., 2].max() == 0
    assert painted[..., 0].max() > 200


def test_a_pixel_is_most_similar_to_itself(noise_picture):
    picture = noise_picture()
    embedding = Embedding([picture], [0, 1])
    found, vector = similarity_at(picture, 10, 21, embedding)
    assert found.shape == (32, 48)
    assert abs(np.linalg.norm(vector) - 1) < 1e-5
    assert np.unravel_index(found.argmax(), found.shape)[0] // 4 == 10 // 4
    assert np.unravel_index(found.argmax(), found.shape)[1] // 4 == 21 // 4
    assert found.max() <= 1 + 1e-5
    assert found.min() >= -1 - 1e-5


def test_the_map_is_the_cosine_of_every_cell(noise_picture):
    picture = noise_picture()
    embedding = Embedding([picture], [0])
    vector = embedding.cells(picture, 4)[1, 1]
    cells = embedding.cells(picture, 1)  # interpolated maps are not interpolated cosines: compare where they agree
    found = similarity_map(picture, vector.numpy(), embedding, stride=1)
    assert np.allclose(found, (cells @ vector).numpy(), atol=1e-5)


def test_heat_is_bright_where_it_is_similar():
    rgb = np.full((20, 30, 3), 128, np.uint8)
    similarity = np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)
    shown = heat(rgb, similarity).astype(int).sum(-1).ravel()
    assert (np.diff(shown[::60]) > 0).all()


def test_a_ring_stays_inside_its_neighbourhood():
    rgb = np.zeros((60, 60, 3), np.uint8)
    marked = mark(rgb, 30, 30, (255, 255, 255))
    changed = np.argwhere(marked.any(-1))
    assert len(changed)
    assert np.abs(changed - 30).max() <= 6
    assert not rgb.any()
