import numpy as np

import pixgraph.overlay as module
from pixgraph.overlay import overlay


def test_background_stays_classes_are_tinted_and_bands_leave_no_trace(monkeypatch):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (37, 23, 3), dtype=np.uint8)
    mask = np.kron(rng.choice([0, 1, 2, 255], (10, 6)), np.ones((4, 4))).astype(np.uint8)[:37, :23]
    whole = overlay(rgb, mask)
    np.testing.assert_array_equal(whole[mask == 0], rgb[mask == 0])
    assert (whole[mask == 1] != rgb[mask == 1]).any()
    for rows in (1, 2, 5, 36):
        monkeypatch.setattr(module, "_BAND", rows)
        np.testing.assert_array_equal(overlay(rgb, mask), whole)
