"""Lines along the middle of regions, as a hand would scribble them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from skimage.morphology import skeletonize

from pixgraph.data.mark_types import Scribble
from pixgraph.data.marks import scribble_pixels
from pixgraph.data.mask_parts import MaskParts

CUT = (0.05, 0.2)
"""Share of the line that is left off at each end, drawn uniformly."""

_STRIDES = (8, 4, 2, 1)  # every so manyth pixel of a line becomes a corner; 1 keeps the very pixels


def centre_lines(parts: MaskParts) -> dict[int, np.ndarray]:
    """For each large part, the longest of the shortest paths along its skeleton.

    Two sweeps find it: the pixel farthest from any one, and the pixel farthest from that. In a skeleton with loops the
    path is long, though not always the longest. Skeletons are those of the parts without their outermost pixels, which
    keeps neighbours apart; parts that this leaves nothing of are thinned as they are.

    Returns:
        Number of the part -> int64 (n, 2), rows and columns of neighbouring pixels.
    """
    rows, cols = np.nonzero(_skeleton(parts))
    own = parts.numbers[rows, cols]
    graph = _pixel_graph(rows, cols, own, parts.numbers.shape)
    count, piece = connected_components(graph, directed=False)
    first = np.unique(piece, return_index=True)[1]
    distance = dijkstra(graph, indices=first, min_only=True)
    starts = _farthest(distance, piece, count)
    distance, before, _ = dijkstra(graph, indices=starts, min_only=True, return_predecessors=True)
    ends = _farthest(distance, piece, count)
    found: dict[int, np.ndarray] = {}
    for end in ends[np.argsort(-distance[ends], kind="stable")]:  # the longest piece of a part speaks for it
        if int(own[end]) not in found:
            path = [int(end)]
            while before[path[-1]] >= 0:
                path.append(int(before[path[-1]]))
            found[int(own[end])] = np.stack([rows[path], cols[path]], axis=1)
    return found


def scribble_along(path: np.ndarray, parts: MaskParts, part: int, width: int, rng: np.random.Generator) -> Scribble:
    """A scribble along a line of a part's pixels that never leaves the part.

    Both ends are cut back by a random share and to where the pen fits; the pen gets narrower where the part is too
    thin for it.

    Args:
        path: int64 (n, 2), rows and columns of neighbouring pixels.
        parts: Of the mask.
        part: Number of the part.
        width: Diameter of the pen in pixels.
        rng: Draws how much is cut.
    """
    first, last = (rng.uniform(*CUT, 2) * len(path)).astype(int)
    path = path[first : len(path) - last]
    depth = parts.depth[path[:, 0], path[:, 1]]
    fits = np.flatnonzero(depth >= min(width / 2 + 1, depth.max()))
    path = path[fits[0] : fits[-1] + 1]
    c = int(parts.classes[part])
    for pen in range(width, 0, -2):  # pens of 2 n and 2 n - 1 pixels draw the same
        for stride in _STRIDES:
            corners = np.concatenate([path[:-1:stride], path[-1:]])
            scribble = Scribble(tuple((int(x), int(y)) for y, x in corners), pen, c)
            if (parts.numbers[scribble_pixels(scribble, parts.numbers.shape)] == part).all():
                return scribble
    raise ValueError(f"the line leaves part {part}, of whose pixels it is said to consist")


def _skeleton(parts: MaskParts) -> np.ndarray:
    """Skeletons of the large parts, bool (H, W)."""
    counts = np.zeros(len(parts.classes), bool)
    counts[parts.large] = True
    skeleton = np.asarray(skeletonize(counts[parts.numbers] & (parts.depth > 1)))
    counts[parts.numbers[skeleton]] = False
    for part in np.flatnonzero(counts):
        window = parts.windows[part - 1]
        inside = parts.numbers[window] == part
        thin = skeletonize(np.pad(inside, 1))[1:-1, 1:-1]
        skeleton[window] |= thin if thin.any() else inside
    return skeleton


def _pixel_graph(rows: np.ndarray, cols: np.ndarray, own: np.ndarray, shape: tuple[int, ...]) -> coo_matrix:
    """Neighbouring pixels of the same part with their distances, symmetric (n, n)."""
    number = np.full((shape[0] + 2, shape[1] + 2), -1)
    number[rows + 1, cols + 1] = np.arange(len(rows))
    starts, ends, lengths = [], [], []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = number[rows + 1 + dy, cols + 1 + dx]
        found = np.flatnonzero((there >= 0) & (own[there] == own))
        starts += [found, there[found]]
        ends += [there[found], found]
        lengths.append(np.full(2 * len(found), np.hypot(dy, dx)))
    pairs = (np.concatenate(starts), np.concatenate(ends))
    return coo_matrix((np.concatenate(lengths), pairs), (len(rows), len(rows))).tocsr()


def _farthest(distance: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    """For each piece, its pixel of the largest distance."""
    order = np.lexsort((distance, piece))
    return order[np.searchsorted(piece[order], np.arange(count), side="right") - 1]
