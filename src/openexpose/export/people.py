"""Everything that may be kept of a photo's people besides the result file: meshes, sequences, pictures, a page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from openexpose.body import BodyModel
from openexpose.errors import ConfigError, DataError
from openexpose.export.amass import write_amass
from openexpose.export.bodies import skinned_mesh
from openexpose.export.files import write_whole
from openexpose.export.gltf import write_glb
from openexpose.export.mesh import write_obj, write_ply
from openexpose.export.paint import paint
from openexpose.export.people_page import photo_page
from openexpose.export.people_pictures import Side, Stage, overlay, parts_sheet, scene_camera, scene_vertices_m, view
from openexpose.export.picture import Picture
from openexpose.export.result import About, result_files
from openexpose.export.rigs import RIGS, Rig, rig_names
from openexpose.export.skinned import SkinnedMesh
from openexpose.geometry.camera import T_OPENGL_OPENCV
from openexpose.prediction import Prediction

MeshFormat = Literal["obj", "ply", "glb"]
FORMATS: tuple[MeshFormat, ...] = get_args(MeshFormat)
"""Meshes that can be written."""
INFLUENCES = 8
"""Joints a vertex in the .glb: exact for all our body models; viewers that read four take the strongest."""
OVERLAY_NAME, PAGE_NAME = "overlay.jpg", "index.html"
SIDES: tuple[Side, ...] = ("side", "top")
FRAME = "x right, y up, z towards the viewer; metres; the photo's camera is at the origin and looks along -z"
"""Frame of all meshes of a photo: the same in .obj, .ply and .glb."""


@dataclass(frozen=True)
class Outputs:
    """Which files are written beside the result."""

    meshes: tuple[MeshFormat, ...] = FORMATS
    """Formats of the meshes, one file a person."""
    rig: Rig = "smplx"
    """Names of the bones in the .glb."""
    amass: bool = True
    """An .npz for tools of SMPL-X sequences, one a person."""
    pictures: bool = True
    """Overlay, side and top view, part crops."""
    page: bool = True
    """index.html: everything of the photo at a glance; needs the pictures."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a format or rig that is not known, or a page without pictures."""
        unknown = [f for f in self.meshes if f not in FORMATS]
        if unknown:
            raise ConfigError(f"mesh format {unknown[0]!r} is not known: {', '.join(FORMATS)}")
        if self.rig not in RIGS:
            raise ConfigError(f"rig {self.rig!r} is not known: {', '.join(RIGS)}")
        if self.page and not self.pictures:
            raise ConfigError("the page shows the pictures: switch both on, or both off")


class PeopleWriter:
    """Writes the files of one photo after the other; what does not change between people is made once.

    May be called from several threads at once. As `predict.job.run(extras=...)` takes it.
    """

    def __init__(self, model: BodyModel, what: Outputs) -> None:
        """model: the body model of all predictions. Raises ConfigError if it has no names for the rig."""
        self.model, self.what = model, what
        self.bones = rig_names(model.joint_names, what.rig) if "glb" in what.meshes else ()
        self.vertex_colours = paint(model).vertex_colours

    def __call__(
        self, folder: Path, photo: UInt8[np.ndarray, "H W 3"], people: Sequence[Prediction], about: About | None = None
    ) -> None:
        """`write`, for callers who do not want to know what was written."""
        self.write(folder, photo, people, about)

    def write(
        self, folder: Path, photo: UInt8[np.ndarray, "H W 3"], people: Sequence[Prediction], about: About | None = None
    ) -> list[Path]:
        """Leave the files of one photo in its folder, each whole or not at all; returns them in order.

        about: what the result file will say; with it the page carries the result too, as it will be written.
        Where nobody was found there are only the photo as `overlay.jpg` and the page. Raises DataError for a photo of
        another size than the predictions', for people of another body model, and when the disk is full or refuses.
        """
        self._check(photo, people)
        written: list[Path] = []
        for person in people:
            written += self._meshes(folder, person)
        if len(people) > 1 and "glb" in self.what.meshes:
            written.append(folder / "people.glb")
            write_glb(
                written[-1],
                [self._skinned(p) for p in people],
                influences=INFLUENCES,
                camera=scene_camera(people[0].camera),
            )
        if self.what.pictures:
            written += self._pictures(folder, photo, people, written, about)
        return written

    def _check(self, photo: UInt8[np.ndarray, "H W 3"], people: Sequence[Prediction]) -> None:
        for person in people:
            if person.photo_size_px != (photo.shape[1], photo.shape[0]):
                raise DataError(
                    f"{person.photo}: {photo.shape[1]} x {photo.shape[0]} pixels, the prediction is of "
                    f"{person.photo_size_px[0]} x {person.photo_size_px[1]}: give the upright photo at full size"
                )
            if person.body_model is not self.model:
                raise DataError(f"{person.photo}: the prediction is of another body model than the writer's")

    def _meshes(self, folder: Path, person: Prediction) -> list[Path]:
        stem, written = f"person_{person.person}", []
        vertices_m = scene_vertices_m(person)
        for kind in self.what.meshes:
            path = folder / f"{stem}.{kind}"
            if kind == "obj":
                write_obj(path, vertices_m, person.faces, frame=FRAME)
            elif kind == "ply":
                write_ply(path, vertices_m, person.faces, frame=FRAME)
            else:
                write_glb(path, [self._skinned(person)], influences=INFLUENCES, camera=scene_camera(person.camera))
            written.append(path)
        if self.what.amass:
            written.append(folder / f"{stem}_amass.npz")
            write_amass(written[-1], person)
        return written

    def _skinned(self, person: Prediction) -> SkinnedMesh:
        mesh = skinned_mesh(
            person.posed(),
            name=f"person_{person.person}",
            T_world_model=T_OPENGL_OPENCV,
            vertex_colours=self.vertex_colours,
        )
        return replace(mesh, joint_names=self.bones)

    def _pictures(
        self,
        folder: Path,
        photo: UInt8[np.ndarray, "H W 3"],
        people: Sequence[Prediction],
        meshes: Sequence[Path],
        about: About | None,
    ) -> list[Path]:
        stage = Stage.of(people) if people else None
        drawn = photo if stage is None else overlay(stage, photo)
        pictures = {OVERLAY_NAME: Picture.jpeg(drawn, alt="The photo with the predicted bodies laid over it")}
        if stage is not None:
            for side in SIDES:
                pictures[f"{side}.jpg"] = Picture.jpeg(view(stage, side), alt=f"The bodies from the {side}")
            for p in people:
                seen = parts_sheet(p, photo, drawn)
                alt = f"What the networks saw of person {p.person}"
                pictures[f"person_{p.person}_parts.jpg"] = Picture.jpeg(seen, alt=alt, caption=f"Person {p.person}")
        written = [folder / name for name in pictures]
        for path, picture in zip(written, pictures.values(), strict=True):
            write_whole(path, picture.data)
        if self.what.page:
            files = {p.name: p.read_bytes() for p in meshes}
            written.append(folder / PAGE_NAME)
            if about is not None:
                files |= result_files(people, about, files=[p.name for p in (*meshes, *written)])
            name = people[0].photo if people else folder.name
            photo_page(photo, name, stage, pictures, files, drawn).write(written[-1])
        return written


def write_outputs(
    folder: Path,
    photo: UInt8[np.ndarray, "H W 3"],
    people: Sequence[Prediction],
    model: BodyModel,
    what: Outputs,
    about: About | None = None,
) -> list[Path]:
    """The files of one photo; for many photos keep a `PeopleWriter`, which is the same but prepares once."""
    return PeopleWriter(model, what).write(folder, photo, people, about)
