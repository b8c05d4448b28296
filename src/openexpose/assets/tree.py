"""The data tree as data: what each file is, which commands need it, where it comes from, under which licence."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Source:
    """Where a file is obtained."""

    title: str
    url: str
    licence: str


@dataclass(frozen=True)
class Entry:
    """One file or folder of the data tree."""

    path: str
    """Relative to the data root, as the seed's README names it."""
    what: str
    """One line for people."""
    kind: str
    """What `doctor` expects inside: "body smplx neutral", "regressor 14x10475", "store", "checkpoint hand", "folder".

    See `cli.recognise`, which knows each kind."""
    source: Source
    commands: tuple[str, ...]
    """The commands that cannot run without it."""
    also: tuple[str, ...] = ()
    """Other paths under which the same thing is really found; looked up after `path`."""


SMPLX = Source("SMPL-X", "https://smpl-x.is.tue.mpg.de", "registration; non-commercial research")
SMPL = Source("SMPL", "https://smpl.is.tue.mpg.de (neutral: https://smplify.is.tue.mpg.de)", "registration; research")
MANO = Source("MANO", "https://mano.is.tue.mpg.de", "registration; non-commercial research")
FLAME = Source("FLAME", "https://flame.is.tue.mpg.de", "registration; FLAME 2019 is non-commercial")
EXPOSE = Source("ExPose", "https://expose.is.tue.mpg.de", "registration; non-commercial research")
ZOO = Source("mmhuman3d", "https://github.com/open-mmlab/mmhuman3d (configs/expose)", "terms of the data used")
TIMM = Source("ImageNet weights", "https://github.com/HRNet and torchvision", "BSD/MIT code; ImageNet terms")
CONVERT = Source("our converters", "openexpose data convert NAME (from the raw data set)", "terms of the data set")
EHF = Source("EHF", "https://smpl-x.is.tue.mpg.de", "registration; non-commercial research")
PW3D = Source("3DPW", "https://virtualhumans.mpi-inf.mpg.de/3DPW", "registration; non-commercial research")
FREIHAND = Source("FreiHAND", "https://lmb.informatik.uni-freiburg.de/projects/freihand", "non-commercial research")
STIRLING = Source("Stirling/ESRC 3D", "https://pics.stir.ac.uk/ESRC", "on request; research")
FFHQ = Source("FFHQ", "https://github.com/NVlabs/ffhq-dataset", "CC BY-NC-SA 4.0 (photos vary)")
COCO = Source("COCO", "https://cocodataset.org", "annotations CC BY 4.0, photos: Flickr terms")
LSP = Source("LSP and LSPET", "https://sam.johnson.io/research/lsp.html", "research")
MPII = Source("MPII", "http://human-pose.mpi-inf.mpg.de", "Simplified BSD; research")
H36M = Source("Human3.6M", "http://vision.imar.ro/human3.6m", "registration; academic")
SPIN = Source("SPIN in SMPL-X", "https://expose.is.tue.mpg.de", "registration; non-commercial research")

TRAIN_BODY = "train hrnet_hmr_expose_body"
TRAIN_FACE = "train resnet18_hmr_expose_face"
TRAIN_HAND = "train resnet18_hmr_expose_hand"
TRAIN_WHOLE = "train expose"
_BODY = (TRAIN_BODY, TRAIN_WHOLE, "eval 3dpw")
_FACE = (TRAIN_FACE, "eval stirling")
_HAND = (TRAIN_HAND, "eval freihand")
_MODELS = "body_models"
_STORES = "preprocessed_datasets"


def _body_models() -> tuple[Entry, ...]:
    m = _MODELS
    return (
        Entry(f"{m}/all_means.pkl", "mean body and hand poses", "means", EXPOSE,
              (TRAIN_BODY, TRAIN_HAND, TRAIN_WHOLE, "data convert freihand"), (f"{m}/smplx/all_means.pkl",)),
        Entry(f"{m}/shape_mean.npy", "mean betas", "shape mean", EXPOSE, (TRAIN_BODY, TRAIN_WHOLE),
              (f"{m}/smplx/shape_mean.npy",)),
        Entry(f"{m}/J_regressor_h36m.npy", "17 Human3.6M joints from SMPL vertices", "regressor 17x6890", ZOO,
              ("eval 3dpw",), (f"{m}/smpl/J_regressor_h36m.npy",)),
        Entry(f"{m}/SMPLX_to_J14.npy", "14 LSP joints from SMPL-X vertices", "regressor 14x10475", EXPOSE,
              ("eval 3dpw",),
              (f"{m}/smplx/SMPLX_to_J14.npy", f"{m}/smplx/SMPLX_to_J14.pkl", f"{m}/SMPLX_to_J14.pkl")),
        Entry(f"{m}/MANO_SMPLX_vertex_ids.pkl", "hand vertices of SMPL-X", "ids left_hand right_hand 778", SMPLX,
              ("eval ehf",), (f"{m}/smplx/MANO_SMPLX_vertex_ids.pkl",)),
        Entry(f"{m}/SMPL-X__FLAME_vertex_ids.npy", "head vertices of SMPL-X", "ids head 5023", SMPLX, ("eval ehf",),
              (f"{m}/smplx/SMPL-X__FLAME_vertex_ids.npy",)),
        Entry(f"{m}/smplx/SMPLX_NEUTRAL.pkl", "SMPL-X, v1.1 wanted", "body smplx neutral", SMPLX, (*_BODY, "eval ehf"),
              (f"{m}/smplx/SMPLX_NEUTRAL.npz", f"{m}/SMPLX_NEUTRAL.npz", f"{m}/SMPLX_NEUTRAL.pkl",
               f"{m}/smplx/SMPLX_NEUTRAL.safetensors", f"{m}/smplx/SMPLX_NEUTRAL_2020.npz",
               f"{m}/models_smplx_v1_1/models/smplx/SMPLX_NEUTRAL.npz")),
        Entry(f"{m}/smpl/SMPL_NEUTRAL.pkl", "SMPL, neutral", "body smpl neutral", SMPL, (),
              (f"{m}/smpl/basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", f"{m}/smpl/SMPL_NEUTRAL.npz",
               f"{m}/smpl/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", f"{m}/smpl/SMPL_NEUTRAL.safetensors")),
        Entry(f"{m}/smpl/SMPL_MALE.pkl", "SMPL, male", "body smpl male", SMPL, ("eval 3dpw",),
              (f"{m}/smpl/basicmodel_m_lbs_10_207_0_v1.0.0.pkl", f"{m}/smpl/basicModel_m_lbs_10_207_0_v1.0.0.pkl",
               f"{m}/smpl/basicmodel_m_lbs_10_207_0_v1.1.0.pkl", f"{m}/smpl/SMPL_MALE.safetensors")),
        Entry(f"{m}/smpl/SMPL_FEMALE.pkl", "SMPL, female", "body smpl female", SMPL, ("eval 3dpw",),
              (f"{m}/smpl/basicModel_f_lbs_10_207_0_v1.0.0.pkl", f"{m}/smpl/basicmodel_f_lbs_10_207_0_v1.0.0.pkl",
               f"{m}/smpl/basicmodel_f_lbs_10_207_0_v1.1.0.pkl", f"{m}/smpl/SMPL_FEMALE.safetensors")),
        Entry(f"{m}/mano/MANO_RIGHT.pkl", "MANO, right hand", "body mano right", MANO, (*_HAND, TRAIN_WHOLE),
              (f"{m}/MANO_RIGHT.pkl", f"{m}/mano/MANO_RIGHT.safetensors")),
        Entry(f"{m}/flame/FLAME_NEUTRAL.pkl", "FLAME (generic_model.pkl)", "body flame neutral", FLAME,
              (*_FACE, TRAIN_WHOLE), (f"{m}/flame/generic_model.pkl", f"{m}/flame/FLAME_NEUTRAL.safetensors")),
        Entry(f"{m}/flame/flame_static_embedding.npy", "51 face landmarks of FLAME", "embedding 51", FLAME,
              (*_FACE, TRAIN_WHOLE), (f"{m}/flame/flame_static_embedding.pkl",)),
        Entry(f"{m}/flame/flame_dynamic_embedding.npy", "moving jaw contour of FLAME", "embedding 79x17", FLAME,
              (*_FACE, TRAIN_WHOLE), (f"{m}/flame/flame_dynamic_embedding.pkl",)),
    )  # fmt: skip


def _pretrained() -> tuple[Entry, ...]:
    p = "pretrained_models"
    return (
        Entry(f"{p}/hrnet_pretrain.pth", "HRNet-W48, ImageNet", "checkpoint hrnet", TIMM, (TRAIN_BODY,),
              (f"{p}/hrnet_w48-8ef0771d.pth", f"{p}/hrnetv2_w48_imagenet_pretrained.pth")),
        Entry(f"{p}/resnet18.pth", "ResNet-18, ImageNet", "checkpoint resnet18", TIMM, (TRAIN_FACE, TRAIN_HAND),
              (f"{p}/resnet18-5c106cde.pth", f"{p}/resnet18-f37072fd.pth")),
        Entry(f"{p}/hrnet_hmr_expose_body.pth", "released body network", "checkpoint body", ZOO,
              (TRAIN_WHOLE, "eval 3dpw"), (f"{p}/hrnet_hmr_expose_body-d7db2e53_20220708.pth",)),
        Entry(f"{p}/resnet18_hmr_expose_face.pth", "released face network", "checkpoint face", ZOO,
              (TRAIN_WHOLE, "eval stirling"), (f"{p}/resnet18_hmr_expose_face-aca68aad_20220708.pth",)),
        Entry(f"{p}/resnet18_hmr_expose_hand.pth", "released hand network", "checkpoint hand", ZOO,
              (TRAIN_WHOLE, "eval freihand"), (f"{p}/resnet18_hmr_expose_hand-c6cf0236_20220708.pth",)),
        Entry(f"{p}/expose.pth", "released whole-body network", "checkpoint whole", ZOO, ("eval ehf",),
              (f"{p}/expose-d9d5dbf7_20220708.pth",)),
    )  # fmt: skip


def _stores() -> tuple[Entry, ...]:
    s = _STORES
    body = (TRAIN_BODY, TRAIN_WHOLE)
    return (
        Entry(f"{s}/curated_fits_train.npz", "ExPose curated fits", "store", CONVERT, body),
        Entry(f"{s}/spin_smplx_train.npz", "SPIN fits in SMPL-X", "store", CONVERT, body),
        Entry(f"{s}/h36m_train.npz", "Human3.6M joints", "store", CONVERT, body,
              (f"{s}/h36m_smplx_train.npz", f"{s}/h36m_expose_train.npz")),
        Entry(f"{s}/ffhq_flame_train.npz", "FFHQ faces with FLAME fits", "store", CONVERT, (TRAIN_FACE, TRAIN_WHOLE)),
        Entry(f"{s}/freihand_train.npz", "FreiHAND, training", "store", CONVERT, (TRAIN_HAND, TRAIN_WHOLE)),
        Entry(f"{s}/freihand_val.npz", "FreiHAND, held out", "store", CONVERT, (TRAIN_HAND,)),
        Entry(f"{s}/freihand_test.npz", "FreiHAND, evaluation", "store", CONVERT, ("eval freihand",)),
        Entry(f"{s}/ehf_val.npz", "EHF, 100 photos", "store", CONVERT, ("eval ehf",)),
        Entry(f"{s}/pw3d_test.npz", "3DPW, test", "store", CONVERT, ("eval 3dpw",)),
        Entry(f"{s}/stirling_ESRC3D_HQ.npz", "Stirling/ESRC, HQ", "store", CONVERT, ("eval stirling",)),
    )  # fmt: skip


def _datasets() -> tuple[Entry, ...]:
    d = "datasets"
    body = (TRAIN_BODY, TRAIN_WHOLE)
    return (
        Entry(f"{d}/3DPW", "photos and annotations", "folder", PW3D, ("eval 3dpw", "data convert pw3d")),
        Entry(f"{d}/coco", "photos", "folder", COCO,
              (*body, "data convert spin_smplx", "data convert coco", "data convert coco_wholebody")),
        Entry(f"{d}/EHF", "photos, keypoints, meshes", "folder", EHF, ("eval ehf", "data convert ehf")),
        Entry(f"{d}/ExPose_curated_fits/train.npz", "curated fits as released", "raw curated_fits", EXPOSE,
              ("data convert curated_fits",)),
        Entry(f"{d}/ffhq/ffhq_annotations.npz", "FLAME fits as released", "raw ffhq", EXPOSE, ("data convert ffhq",),
              (f"{d}/FFHQ/ffhq_annotations.npz",)),
        Entry(f"{d}/ffhq/ffhq_global_images_1024", "photos", "folder", FFHQ, (TRAIN_FACE, TRAIN_WHOLE),
              (f"{d}/FFHQ/ffhq_global_images_1024",)),
        Entry(f"{d}/FreiHand", "photos and annotations", "folder", FREIHAND,
              (*_HAND, TRAIN_WHOLE, "data convert freihand"), (f"{d}/FreiHAND",)),
        Entry(f"{d}/h36m", "photos and annotations", "folder", H36M, (*body, "data convert h36m")),
        Entry(f"{d}/lsp/lsp_dataset_original", "photos", "folder", LSP,
              (*body, "data convert spin_smplx", "data convert lsp")),
        Entry(f"{d}/lsp/lspet", "photos", "folder", LSP,
              (*body, "data convert spin_smplx", "data convert lspet")),
        Entry(f"{d}/mpii", "photos", "folder", MPII, (*body, "data convert spin_smplx", "data convert mpii")),
        *(Entry(f"{d}/spin_in_smplx/{name}.npz", f"fits for {name}", "raw spin", SPIN, ("data convert spin_smplx",))
          for name in ("coco", "lsp", "lspet", "mpii")),
        Entry(f"{d}/stirling", "photos, scans, landmarks", "folder", STIRLING,
              ("eval stirling", "data convert stirling")),
    )  # fmt: skip


TREE: Final[tuple[Entry, ...]] = _body_models() + _pretrained() + _stores() + _datasets()
"""Every file and folder of DESIGN section 8, in the order in which `doctor` shows them."""

FREE_COMMANDS: Final[tuple[str, ...]] = ("demo", "predict", "body show", "synth", "train lite", "train toy")
"""Commands that need nothing of the tree: they use the free body models that ship."""

COMMANDS: Final[Mapping[str, tuple[Entry, ...]]] = MappingProxyType(
    dict.fromkeys(FREE_COMMANDS, ())
    | {
        name: tuple(e for e in TREE if name in e.commands)
        for name in sorted({c for e in TREE for c in e.commands})
    }
)  # fmt: skip
"""Command -> the entries it needs."""
