"""The page of one photo: overlay, the people in 3D, what the networks saw, a table, and the files to save."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from openexpose.export.downloads import Download, Downloads
from openexpose.export.page import BeforeAfter, Gallery, Page, Section, Table, Text, Viewer
from openexpose.export.people_pictures import Stage, colour_of, scene_camera
from openexpose.export.picture import Picture
from openexpose.export.viewer import ViewerMesh
from openexpose.prediction import PART_NAMES, PartSquare, Prediction

MAX_SIDE_PX = 1400
"""Longer side of the photo inside the page; the overlay's own file has the photo's size."""
COLOUR_NAMES = ("blue", "orange", "green", "pink", "yellow", "turquoise", "violet", "sand")
"""Of `people_pictures.COLOURS`."""
_NOTES: Mapping[str, str] = {
    ".glb": "skinned, posed, with the photo's camera",
    ".obj": "mesh, text",
    ".ply": "mesh, binary",
    ".npz": "arrays",
    ".json": "everything in numbers",
}
_MEDIA_TYPES: Mapping[str, str] = {".glb": "model/gltf-binary", ".obj": "model/obj", ".json": "application/json"}


def photo_page(
    photo: UInt8[np.ndarray, "H W 3"],
    name: str,
    stage: Stage | None,
    pictures: Mapping[str, Picture],
    files: Mapping[str, bytes],
    drawn: UInt8[np.ndarray, "H W 3"],
) -> Page:
    """The page of one photo.

    stage: its people, None for nobody. pictures: by file name, those of the sides and parts go into the page.
    files: by name, those that the page carries. drawn: the overlay.
    """
    before, after = (_shown(p, alt) for p, alt in ((photo, "The photo"), (drawn, "The bodies over the photo")))
    sections: list[Section] = [BeforeAfter("", before, after, names=("photo", "bodies"))]
    if stage is None:
        return Page(name, [*sections, Text("Nobody was found", ["No person was found in this photo."]), _files(files)])
    people = stage.people
    camera = people[0].camera
    sides = [pictures[n] for n in ("side.jpg", "top.jpg") if n in pictures]
    parts = [p for n, p in pictures.items() if n.endswith("_parts.jpg")]
    sections += [
        Viewer(
            "In 3D",
            [_viewer_mesh(p, stage, k) for k, p in enumerate(people)],
            lead="As the photo's camera sees them; Photo looks through it, drag to look from elsewhere.",
            poster=sides[0] if sides else None,
            together="Everybody" if len(people) > 1 else "",
            camera=scene_camera(camera),
        ),
        Table(
            "Who was found",
            ["person", "colour", "height (m)", "distance (m)", "score", *(n.replace("_", " ") for n in PART_NAMES)],
            [_row(p) for p in people],
            lead="Heights and distances are guesses: one photo does not tell a small person nearby from a tall one "
            "farther off. For hands and head: how sure the part's network is, and whether its answer was taken.",
        ),
        Gallery("From the side and from above", sides, wide=True),
        Gallery("What the networks saw", parts, wide=True),
        _files(files),
    ]
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    width, height = people[0].photo_size_px
    focal = f"focal length {camera.K[0, 0]:.0f} px ({_FOCAL[people[0].focal_from]})"
    return Page(
        name,
        sections,
        subtitle=f"{count} · {width} x {height} px · {focal}",
        footer=f"Weights: {people[0].model.weights} · body model: {people[0].model.body_model} · made by OpenExPose",
    )


_FOCAL: Mapping[str, str] = {
    "exif": "from the photo's EXIF",
    "given": "given",
    "default": "not known: the photo's diagonal",
}


def _shown(rgb: UInt8[np.ndarray, "H W 3"], alt: str) -> Picture:
    k = MAX_SIDE_PX / max(rgb.shape[:2])
    if k < 1:
        size = (max(1, round(rgb.shape[1] * k)), max(1, round(rgb.shape[0] * k)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture.jpeg(rgb, alt=alt)


def _viewer_mesh(person: Prediction, stage: Stage, k: int) -> ViewerMesh:
    mesh = stage.scene.meshes[k]
    return ViewerMesh(
        f"Person {person.person}",
        mesh.vertices_m,
        mesh.faces,
        colour=colour_of(person.person),
        openness=stage.openness()[k],
    )


def _row(p: Prediction) -> list[str | float]:
    rest_m = p.body_model.shape(p.params.betas, p.params.expression).rest_vertices_m[:, 1]
    parts = [_part_words(p.parts[n]) if n in p.parts else "-" for n in PART_NAMES]
    height_m, distance_m = float(rest_m.max() - rest_m.min()), float(np.linalg.norm(p.joints_m[0]))
    colour = COLOUR_NAMES[p.person % len(COLOUR_NAMES)]
    return [f"Person {p.person}", colour, round(height_m, 2), round(distance_m, 2), round(p.score, 2), *parts]


def _part_words(part: PartSquare) -> str:
    sure = [] if part.confidence is None else [f"{part.confidence:.0%}"]
    return ", ".join([*sure, "taken" if part.used else "not taken"])


def _files(files: Mapping[str, bytes]) -> Downloads:
    items = [
        Download(n, data, _MEDIA_TYPES.get(Path(n).suffix, "application/octet-stream"), _note(n))
        for n, data in files.items()
    ]
    lead = "Inside this page, to save; docs/export.md says what each holds. The pictures lie beside it at full size."
    return Downloads("Files", items, lead=lead)


def _note(name: str) -> str:
    if name.endswith("_amass.npz"):
        return "AMASS keys, for SMPL-X tools"
    if name == "people.glb":
        return "everybody in one file"
    return next((note for end, note in _NOTES.items() if name.endswith(end)), "")
