"""The app's strategies of active learning, as the platform lists and calls them."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions

DESCRIPTIONS = {
    "combined": "Suspicious above all; and uncertain, disputed between the models, unlike what is labelled",
    "suspicion": "Where the models are most sure of a finding",
    "uncertainty": "Where the models are least sure",
    "disagreement": "Where saliency and detector disagree",
    "diversity": "What is least like the labelled images",
    "random": "Any unlabelled image",
}


class Next(Strategy):
    """One strategy.

    Args:
        name: of it.
        selection: that knows the images' scores.
        submissions: that know what is labelled.
        seed: of random order.
    """

    def __init__(self, name: str, selection: ImageSelection, submissions: Submissions, seed: int) -> None:
        super().__init__(DESCRIPTIONS[name])
        self.name = name
        self.selection = selection
        self.submissions = submissions
        self.seed = seed

    def __call__(self, request: Any, datastore: Any) -> dict[str, str] | None:
        """The image to read next, None where all are labelled."""
        chosen = self.selection.next_image(self.name, self.submissions.labelled(), self.seed)
        return None if chosen is None else {"id": chosen}


def make_strategies(selection: ImageSelection, submissions: Submissions, seed: int) -> dict[str, Next]:
    """The strategies by name, the default first."""
    return {name: Next(name, selection, submissions, seed) for name in STRATEGIES}
