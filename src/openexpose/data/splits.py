"""Which rows of the photo packs are for training and which are kept for validation; the same for everybody."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from openexpose.data.pack import PhotoPack
from openexpose.errors import DataError
from openexpose.readers import Npz
from openexpose.skeleton import Skeleton

BODIES_KEPT = 500
"""The last so many rows of the LSPET pack, which is shuffled, validate; the others train."""
FACES_KEPT = 200
"""So many faces of the face pack validate."""
VIDEO_SOURCE = 0
"""Source of the face pack with several photos of most people; validation comes from it, for it is the hard one."""

_LSPET_HEX = (
    "000400150017001c00200021002200490063006400890093009d00a100c400cc00de00f7013d013e01420188019c01b801c501dd0200"
    "02080220023002310241024a025c02660268026b0272027502780279027b027d027f029102ae02d502db02f402fc030303200337035a"
    "036d037b039203ae03af03b903bb03bd03dc03e303e50403040c04210425042804310443044b045204650473049104960499049e04a0"
    "04c504d104e704f204f60505052005250548054c0562059d05a305ad05b30610061e063406440651066f068b0696069a06a906bb06d4"
    "06da06fd070e070f0712072c0744074907520762076e076f07760778079607a007ab07c707ca07d007d807ef081b08230847084d089d"
    "08a208aa08b508bb08cc08d608df0908090e0914091c09350941094a094f0965096a0979098109b009f309f70a000a190a870aa10ab4"
    "0ac50acc0ace0ae80b0b0b130b220b4a0b4f0b680bbc0bd50bd80be30bf40bfa0c0e0c0f0c190c230c4e0c600cab0caf0cb30cc90cce"
    "0ce90d0b0d210d300d3a0d5a0d6d0d890db70e120e190e320e350e590e610e6c0e7f0e800e870e890e9a0eb40ec40ee00ee40ef40ef5"
    "0f0b0f3d0f3e0f4a0f4f0f530f620f790f900f940fa20fbe0fd10fd710261029104e1065106610781081108e10a110ab10cd10e210f3"
    "110c11321139113c1151115411581166118111af11b812071213122e123612481252125b127812c112ca12ce12db12df12ea13121329"
    "134d135d1361136f138713a013b113b613d313da13e313ee13fb14061412142e14501467147b149714a414b014b714be14bf14ed14f5"
    "15081550155a1563156c158b15a215a915b315bc15c5160c16181642164a16631688169016a816b516d116e816ed1717173a17451750"
    "1754177f178a179a17a017c417db17eb17f81831183e1868187b18811895189e18a418ab18af18bd18c218db18ee18f618ff1901191d"
    "1924192d192f1936194319771983198a199219a419a719aa19c219cc19e219e419ed19f919fb1a161a191a311a361a491a4a1ab51abd"
    "1ac91aee1b081b271b381b421b631b691b8e1b991ba01ba81baf1bbc1bdc1bef1bf21c071c3a1c3d1c4e1c701c761c7a1c8d1c9f1ca0"
    "1cc91cd61cde1ced1cf51d0f1d111d141d291d3d1d411d571d8d1db11dbc1dc41dcc1dda1ddd1de81dec1dfa1e011e071e431e5c1e6d"
    "1e6e1e771eaa1ec31ec71eca1eda1eef1f0d1f161f421f451f531f7a1f8d1f921f961fa41fb41ff61ffa2008200d2028203520422048"
    "2052205a2074207c20892096209d20e420f3211421532157217a2183219121b821f3220d2222223f22422243224622472252226c227a"
    "227f2285229d22a022a222b222b922be22c222d022ed230a230e231a"
)
"""Two bytes each, ascending: which photos of LSPET, counted from 0, the pack keeps for validation."""


@dataclass(frozen=True)
class Split:
    """Rows of a pack, ascending."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def body_split(count: int, *, kept: int = BODIES_KEPT) -> Split:
    """The split of a pack of bodies by position: the last `kept` rows validate.

    Raises DataError if nothing would be left to train on.
    """
    if not 0 < kept < count:
        raise DataError(f"a pack of {count} rows cannot keep {kept} for validation and train on the others")
    rows = np.arange(count, dtype=np.int64)
    return Split(rows[:-kept], rows[-kept:])


def lspet_validation() -> NDArray[np.int64]:
    """(500,) numbers from 0 of the validation photos in LSPET as distributed: number 4 is `im00005.jpg`."""
    return np.frombuffer(bytes.fromhex("".join(_LSPET_HEX)), ">u2").astype(np.int64)


def person_of(source_file: str) -> str:
    """Who is on a photo named `<folders>/<First_Last>_<number>.<ending>`: "First_Last"."""
    return PurePosixPath(source_file).stem.rpartition("_")[0]


def face_split(source: Sequence[int], source_file: Sequence[str], *, kept: int = FACES_KEPT) -> Split:
    """The split of the pack of faces by people: nobody is on both sides.

    Validation takes people of `VIDEO_SOURCE` in the order of the SHA-256 of their name until it has `kept` faces; what
    the last of them has beyond that is on neither side. Raises DataError if there are fewer faces than that.
    """
    rows = [i for i, s in enumerate(source) if s == VIDEO_SOURCE]
    names = {i: person_of(str(source_file[i])) for i in rows}
    if not 0 < kept < len(rows):
        raise DataError(f"{len(rows)} faces of source {VIDEO_SOURCE} cannot give {kept} to validation: is it the pack?")
    order = sorted(rows, key=lambda i: (hashlib.sha256(names[i].encode()).hexdigest(), source_file[i]))
    validation = order[:kept]
    people = {names[i] for i in validation}
    train = [i for i in range(len(source_file)) if i not in names or names[i] not in people]
    return Split(np.array(train, np.int64), np.array(sorted(validation), np.int64))


def body_packs(path: Path) -> tuple[PhotoPack, PhotoPack]:
    """Training and validation part of the LSPET pack. Raises AssetError or DataError for another file."""
    with Npz(path) as z:
        count = int(z.header("keypoints2d").shape[0])
    split = body_split(count)
    return _packs(path, split, "lspet")


def face_packs(path: Path) -> tuple[PhotoPack, PhotoPack]:
    """Training and validation part of the face pack. Raises AssetError or DataError for another file."""
    with Npz(path) as z:
        missing = [k for k in ("source", "source_file") if k not in z]
        if missing:
            raise DataError(f"{path} has no {' and no '.join(missing)}; people cannot be told apart in it")
        split = face_split(z.read("source").tolist(), z.read("source_file").tolist())
    return _packs(path, split, "ibug68")


def _packs(path: Path, split: Split, skeleton: str) -> tuple[PhotoPack, PhotoPack]:
    convention = Skeleton.read(skeleton)
    return PhotoPack(path, split.train, convention), PhotoPack(path, split.validation, convention)
