"""What the files of a photo cost: meshes, AMASS, pictures, page, one person in a photo of about a megapixel.

    python benchmarks/bench_outputs.py [--photos 8]

Prints seconds of processor time a photo (that of this process, so a busy machine does not show) and what two cores
could write of each at most; the networks and decoding share those cores, see bench_predict.py for the whole.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from openexpose.body import load_model  # noqa: E402
from openexpose.export.people import Outputs, PeopleWriter  # noqa: E402
from openexpose.synth.pose_bank import PoseBank  # noqa: E402
from stand_in import stand_in  # noqa: E402

SIZE = (880, 1180)
KINDS = {
    "glb": Outputs(("glb",), amass=False, pictures=False, page=False),
    "obj": Outputs(("obj",), amass=False, pictures=False, page=False),
    "ply": Outputs(("ply",), amass=False, pictures=False, page=False),
    "amass": Outputs((), pictures=False, page=False),
    "all meshes, amass": Outputs(pictures=False, page=False),
    "pictures": Outputs((), amass=False, page=False),
    "pictures, page": Outputs((), amass=False),
    "everything": Outputs(),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=8)
    photos = parser.parse_args().photos
    torch.set_num_threads(1)
    model = load_model("free")
    noise = np.random.default_rng(0).integers(0, 255, (24, 18, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC))
    bank = PoseBank.shipped()
    people = []
    for row in np.linspace(0, len(bank.rotvec_rad) - 1, photos).astype(int):
        R = torch.eye(3).repeat(55, 1, 1)
        R[:22] = torch.linalg.matrix_exp(_skew(torch.from_numpy(bank.rotvec_rad[row])))
        people.append(stand_in(model, SIZE, (0.0, 0.4, 3.3), R=R))
    table = Table("files", "s of processor a photo", "photos/s on 2 cores, at most")
    with tempfile.TemporaryDirectory() as folder:
        for name, what in KINDS.items():
            writer = PeopleWriter(model, what)
            writer(Path(folder) / "warm", photo, people[:1])
            start = time.process_time()
            for k, person in enumerate(people):
                vars(person).pop("vertices_m", None)  # kept once computed; each photo pays for its own
                writer(Path(folder) / str(k), photo, [person])
            each = (time.process_time() - start) / photos
            table.add_row(name, f"{each:.3f}", f"{2 / each:.1f}")
    Console().print(table)


def _skew(v: torch.Tensor) -> torch.Tensor:
    zero = torch.zeros_like(v[:, 0])
    x, y, z = v.unbind(1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


if __name__ == "__main__":
    main()
