"""The benchmarks: protocols as pure functions, figures that remember every sample, reports, comparisons.

`pw3d`, `ehf`, `freihand`, `stirling` each hold one protocol; `report` writes what they yield; `compare` says whether
two results differ by more than chance.
"""

from openexpose.evaluate.published import PUBLISHED as PUBLISHED
from openexpose.evaluate.published import Published as Published
from openexpose.evaluate.score import Outcome as Outcome
from openexpose.evaluate.score import Protocol as Protocol
from openexpose.evaluate.score import Score as Score
