"""Write `src/openexpose/nets/priors.safetensors` anew: `python benchmarks/measure_priors.py OUT`."""

import sys
from pathlib import Path

from openexpose.readers import write_safetensors
from openexpose.synth.priors import measured

if __name__ == "__main__":
    write_safetensors(Path(sys.argv[1]), measured(), {"format": "openexpose priors 1"})
