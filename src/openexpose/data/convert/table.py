"""The data sets that can be converted, as data. A new one is one line here and one module beside it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from openexpose.assets.tree import (
    COCO,
    EHF,
    EXPOSE,
    FFHQ,
    FREIHAND,
    H36M,
    LSP,
    MPII,
    PW3D,
    SPIN,
    STIRLING,
    Source,
)  # fmt: skip
from openexpose.data.convert.common import Converter
from openexpose.errors import ConfigError


@dataclass(frozen=True)
class Spec:
    """One raw data set."""

    module: str
    """Module of `openexpose.data.convert` that has the functions of `Converter`."""
    outputs: tuple[str, ...]
    """Files it makes, without `.npz`, under the names of the data tree."""
    folder: str
    """Where its raw files lie in the tree, below `datasets/`; the default of --root."""
    what: str
    """One line for people."""
    source: Source
    """Where it is obtained, and its licence."""


WHOLEBODY: Final = Source("COCO-WholeBody", "https://github.com/jin-s13/COCO-WholeBody", "non-commercial research")
YOURS: Final = Source("your own photos", "https://github.com/CMU-Perceptual-Computing-Lab/openpose", "yours")
CONVERTERS: Final[Mapping[str, Spec]] = MappingProxyType(
    {
        "curated_fits": Spec("curated_fits", ("curated_fits_train",), "ExPose_curated_fits",
                             "SMPL-X fits to photos of COCO, MPII, LSP and LSPET, picked by people", EXPOSE),
        "spin_smplx": Spec("spin_smplx", ("spin_smplx_train",), "spin_in_smplx",
                           "SPIN's SMPL fits to COCO, LSP, LSPET and MPII, turned into SMPL-X", SPIN),
        "h36m": Spec("h36m", ("h36m_train",), "h36m", "Human3.6M: 3D joints of training subjects", H36M),
        "ehf": Spec("ehf", ("ehf_val",), "EHF", "Expressive hands and faces: 100 photos with SMPL-X meshes", EHF),
        "ffhq": Spec("ffhq", ("ffhq_flame_train", "ffhq_flame_val"), "ffhq",
                     "FFHQ faces with FLAME fits (ffhq_annotations.npz)", FFHQ),
        "freihand": Spec("freihand", ("freihand_train", "freihand_val", "freihand_test"), "FreiHand",
                         "FreiHAND: right hands with MANO parameters and joints", FREIHAND),
        "stirling": Spec("stirling", ("stirling_ESRC3D_HQ", "stirling_ESRC3D_LQ"), "stirling",
                         "Stirling/ESRC 3D: photos of faces (of high and low quality) with scans", STIRLING),
        "lsp": Spec("lsp", ("lsp_train", "lsp_test"), "lsp/lsp_dataset_original",
                    "Leeds Sports Poses: 14 joints in 2D", LSP),
        "lspet": Spec("lsp", ("lspet_train",), "lsp/lspet", "Leeds Sports Poses, extended: 14 joints in 2D", LSP),
        "coco": Spec("coco", ("coco_train", "coco_val"), "coco", "COCO: 17 points in 2D (2017, else 2014)", COCO),
        "coco_wholebody": Spec("coco", ("coco_wholebody_train", "coco_wholebody_val"), "coco",
                               "COCO-WholeBody: 133 points in 2D", WHOLEBODY),
        "mpii": Spec("mpii", ("mpii_train",), "mpii", "MPII Human Pose: 16 joints in 2D", MPII),
        "openpose": Spec("openpose", ("openpose",), "openpose",
                         "your photos with OpenPose's BODY_25, hands and face in 2D", YOURS),
        "pw3d": Spec("pw3d", ("pw3d_test",), "3DPW", "3DPW test sequences with SMPL parameters", PW3D),
    }
)  # fmt: skip
"""Name on the command line -> the data set."""


def spec(name: str) -> Spec:
    """Return the line of a data set; ConfigError listing the names if there is none."""
    if name not in CONVERTERS:
        raise ConfigError(f"no converter {name!r}; choose one of {', '.join(sorted(CONVERTERS))}")
    return CONVERTERS[name]


def converter(name: str) -> Converter:
    """Return the module of a data set, imported now; ConfigError if there is none."""
    return cast("Converter", importlib.import_module(f"openexpose.data.convert.{spec(name).module}"))
