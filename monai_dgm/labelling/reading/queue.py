"""Which case a reader is offered next."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID
from monai_dgm.labelling.labels.json_input import CLOSED
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions

__all__ = ["NextRequest", "ReadingQueue"]

MAX_SKIPPED = 1000


class NextRequest(BaseModel):
    """What a viewer says when it asks for the next case.

    Attributes:
        skipped: ids of cases that the reader does not want now.
        strategy: of active learning.
    """

    model_config = CLOSED
    skipped: Annotated[list[Annotated[str, Field(max_length=MAX_IMAGE_ID)]], Field(max_length=MAX_SKIPPED)] = []
    strategy: str = "combined"


class ReadingQueue:
    """The cases that wait for readers.

    Args:
        selection: chooses by active learning.
        submissions: have the labels.
        seed: of the random strategy.
    """

    def __init__(self, selection: ImageSelection, submissions: Submissions, seed: int = 0) -> None:
        self.selection = selection
        self.submissions = submissions
        self.seed = seed

    def next_case(self, reader: str, request: NextRequest) -> dict[str, Any]:
        """The next case of a reader: "image", and "study" and "series" in an archive; empty where none is left.

        Raises:
            UnknownError: another strategy.
        """
        done = self.submissions.labelled() | set(request.skipped)
        chosen = self.selection.next_image(request.strategy, done, self.seed)
        if chosen is None:
            return {}
        image = self.selection.analysis.studies.find(chosen)
        return {"image": image.image_id, "study": image.study, "series": image.series}
