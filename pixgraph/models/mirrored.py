"""A method asked twice: about the pictures, and about their mirror images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.models.predictor import Predictor
from pixgraph.models.support_key import SupportKey

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore


class MirroredPredictor:
    """The mean of what a method answers to a task and, mirrored back, to the same task with all pictures mirrored.

    A CNN sees a mirrored picture a little differently, and the errors of the two answers differ as well. Mirroring the
    query alone helps less than mirroring the supports with it. Takes twice the time, and features of twice as many
    pictures, which come from the cache of the feature store like any others.

    Args:
        plain: The method.
        mirrored: The same method once more, since each remembers the supports it saw last.
        store: Gives the features of mirrored pictures; those of the method.

    Attributes:
        name: Name of the method with ``", mirrored"`` behind it.
    """

    def __init__(self, plain: Predictor, mirrored: Predictor, store: FeatureStore) -> None:
        self.plain, self.mirrored, self.store = plain, mirrored, store
        self._known: tuple[SupportKey, list[Picture]] | None = None

    @property
    def name(self) -> str:
        """Short name of the method."""
        return f"{self.plain.name}, mirrored"

    @torch.no_grad()
    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """Class probabilities of every query, see `Predictor.predict`."""
        # Unlabelled pictures stay from query to query as supports do.
        staying = [*task.support, *task.unlabelled]
        key = SupportKey(FewShotTask(task.n_way, staying, []))
        if self._known is None or self._known[0] != key:
            self._known = (key, self._images(staying))
        images, shown = self._known[1], len(task.support)
        mirrored = FewShotTask(task.n_way, images[:shown], self._images(task.query), images[shown:])
        answers = zip(self.plain.predict(task), self.mirrored.predict(mirrored), strict=True)
        return [(answer + image.flip(-1)) / 2 for answer, image in answers]

    def _images(self, pictures: list[Picture]) -> list[Picture]:
        return [self._image(picture) for picture in pictures]

    def _image(self, picture: Picture) -> Picture:
        """The mirror image of a picture with that of its labels."""
        image = self.store.mirrored(picture)
        label, rough = (None if t is None else t.flip(-1) for t in (picture.label, picture.rough))
        return replace(image, label=label, rough=rough)
