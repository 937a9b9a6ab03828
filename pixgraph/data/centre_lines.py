"""Lines along the middle of regions, as a hand would scribble them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.measure import approximate_polygon
from skimage.morphology import skeletonize

from pixgraph.data.marks import scribble_pixels
from pixgraph.data.mark_types import Scribble

CUT = (0.05, 0.2)
"""Share of the line that is left off at each end, drawn uniformly."""


def centre_line(inside: np.ndarray) -> np.ndarray:
    """The longest of the shortest paths along the skeleton of a connected region.

    Two sweeps find it: the pixel farthest from any one, and the pixel farthest from that. In a skeleton with loops
    the path is long, though not always the longest.

    Args:
        inside: bool (H, W), one region that is connected by sides or corners.

    Returns:
        int64 (n, 2), rows and columns of neighbouring pixels; empty for an empty region.
    """
    rows, cols = np.nonzero(skeletonize(np.pad(inside, 1)))
    if not len(rows):
        rows, cols = (part[:1] + 1 for part in np.nonzero(inside))
    if len(rows) < 2:
        return np.stack([rows, cols], axis=1) - 1
    graph = _pixel_graph(rows, cols, (inside.shape[0] + 2, inside.shape[1] + 2))
    start = _farthest(dijkstra(graph, indices=0))
    distance, before = dijkstra(graph, indices=start, return_predecessors=True)
    path = [_farthest(distance)]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return np.stack([rows[path], cols[path]], axis=1) - 1


def scribble_inside(inside: np.ndarray, class_id: int, width: int, rng: np.random.Generator) -> Scribble:
    """A scribble along the middle of a region that never leaves it.

    Both ends are cut back by a random share and to where the pen fits; the pen gets narrower where the region is too
    thin for it.

    Args:
        inside: bool (H, W), one connected region that is not empty.
        class_id: Class of the scribble.
        width: Diameter of the pen in pixels.
        rng: Draws how much is cut.
    """
    path = centre_line(inside)
    first, last = (rng.uniform(*CUT, 2) * len(path)).astype(int)
    path = path[first : len(path) - last]
    depth = distance_transform_edt(np.pad(inside, 1))[path[:, 0] + 1, path[:, 1] + 1]
    fits = np.flatnonzero(depth >= min(width / 2 + 1, depth.max()))
    path = path[fits[0] : fits[-1] + 1]
    for pen in range(width, 0, -1):
        for tolerance in (1.0, 1e-3):  # the second drops only pixels in the middle of straight runs
            corners = approximate_polygon(path, tolerance) if len(path) > 2 else path
            scribble = Scribble(tuple((int(x), int(y)) for y, x in corners), pen, class_id)
            if inside[scribble_pixels(scribble, inside.shape)].all():
                return scribble
    raise ValueError("a line of the region's own pixels leaves the region")  # corners of a path are in the region


def _pixel_graph(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> coo_matrix:
    """Neighbouring pixels of a set, (n, n), with their distances."""
    number = np.full(shape, -1)
    number[rows, cols] = np.arange(len(rows))
    starts, ends, lengths = [], [], []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = number[rows + dy, cols + dx]
        found = np.flatnonzero(there >= 0)
        starts.append(found)
        ends.append(there[found])
        lengths.append(np.full(len(found), np.hypot(dy, dx)))
    pair = (np.concatenate(starts), np.concatenate(ends))
    graph = coo_matrix((np.concatenate(lengths), pair), (len(rows), len(rows)))
    return graph + graph.T


def _farthest(distance: np.ndarray) -> int:
    return int(np.where(np.isfinite(distance), distance, -1).argmax())
