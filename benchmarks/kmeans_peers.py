"""Other ways to the segments of spherical k-means, of the same vectors and the same first clusters."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.pretrain.spml.kmeans import grid_clusters, located


def loop_kmeans(embedding: torch.Tensor, grid: tuple[int, int], iterations: int) -> torch.Tensor:
    """Picture by picture and cluster by cluster, as it is written down.

    Args:
        embedding: (B, D, h, w).
        grid: Rows and columns of the first clusters.
        iterations: How often pixels are assigned.

    Returns:
        (B, h, w) int64.
    """
    batch, _, height, width = embedding.shape
    first = grid_clusters(height, width, grid).flatten()
    found = []
    for picture in located(embedding).flatten(2).transpose(1, 2):  # (n, D + 2)
        clusters = first.clone()
        for _ in range(iterations):
            products = []
            for c in range(grid[0] * grid[1]):
                members = picture[clusters == c]
                if len(members):
                    products.append(picture @ F.normalize(members.sum(0), dim=0))
                else:
                    products.append(torch.full((len(picture),), -torch.inf))
            clusters = torch.stack(products, 1).argmax(1)
        found.append(clusters)
    return torch.stack(found).view(batch, height, width)


def faiss_kmeans(embedding: torch.Tensor, grid: tuple[int, int], iterations: int) -> torch.Tensor:
    """`faiss.Kmeans` with spherical centroids, one call a picture; it refills clusters that lost all pixels."""
    import faiss

    batch, _, height, width = embedding.shape
    first = grid_clusters(height, width, grid).flatten()
    found = []
    for picture in located(embedding).flatten(2).transpose(1, 2).contiguous():
        count = grid[0] * grid[1]
        start = F.normalize(torch.zeros(count, picture.shape[1]).index_add(0, first, picture), dim=1)
        own = faiss.Kmeans(
            picture.shape[1], count, niter=iterations - 1, spherical=True, max_points_per_centroid=len(picture), seed=1
        )
        own.train(picture.numpy(), init_centroids=start.numpy())
        found.append(torch.from_numpy(own.index.search(picture.numpy(), 1)[1][:, 0]))
    return torch.stack(found).view(batch, height, width)


def sklearn_kmeans(embedding: torch.Tensor, grid: tuple[int, int], iterations: int) -> torch.Tensor:
    """`sklearn.cluster.KMeans` (Lloyd) on the unit vectors: Euclidean means, which are not normalised again."""
    from sklearn.cluster import KMeans

    batch, _, height, width = embedding.shape
    first = grid_clusters(height, width, grid).flatten()
    found = []
    for picture in located(embedding).flatten(2).transpose(1, 2).contiguous():
        count = grid[0] * grid[1]
        sums = torch.zeros(count, picture.shape[1]).index_add(0, first, picture)
        start = (sums / torch.bincount(first, minlength=count)[:, None]).numpy()
        own = KMeans(count, init=start, n_init=1, max_iter=iterations, tol=0.0, algorithm="lloyd")
        found.append(torch.from_numpy(own.fit(picture.numpy()).labels_.astype(np.int64)))
    return torch.stack(found).view(batch, height, width)
