"""What the tests of training share: a drawn image, the smallest schedule."""

import json

from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from crystalseg.training.data import labelled_image

DRAWN = draw(8, (260, 300), Structure("powder", diameter=35, spread=0.3))
SAMPLE = labelled_image(DRAWN.image, DRAWN.labels, with_flow=True)
SMALL = json.dumps({"steps": 2, "batch": 2, "every": 2})
