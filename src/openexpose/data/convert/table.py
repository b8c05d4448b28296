"""The data sets that can be converted, as data. A new one is one line here and one module beside it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from openexpose.assets.tree import (
    EHF,
    EXPOSE,
    H36M,
    PW3D,
    SPIN,
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


CONVERTERS: Final[Mapping[str, Spec]] = MappingProxyType(
    {
        "curated_fits": Spec("curated_fits", ("curated_fits_train",), "ExPose_curated_fits",
                             "SMPL-X fits to photos of COCO, MPII, LSP and LSPET, picked by people", EXPOSE),
        "spin_smplx": Spec("spin_smplx", ("spin_smplx_train",), "spin_in_smplx",
                           "SPIN's SMPL fits to COCO, LSP, LSPET and MPII, turned into SMPL-X", SPIN),
        "h36m": Spec("h36m", ("h36m_smplx_train",), "h36m", "Human3.6M: 3D joints of training subjects", H36M),
        "ehf": Spec("ehf", ("ehf_val",), "EHF", "Expressive hands and faces: 100 photos with SMPL-X meshes", EHF),
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
