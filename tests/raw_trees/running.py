"""Running a converter on a miniature raw tree."""

from dataclasses import dataclass
from pathlib import Path

from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.humandata import HumanData
from openexpose.data.record import Record


@dataclass(frozen=True)
class Made:
    """The files of one run, by output, and everything that was complained about."""

    files: dict[str, HumanData]
    problems: tuple[str, ...]

    def rows(self, output: str) -> list[Record]:
        """All rows of a file, extras included."""
        data = self.files[output]
        return [data.row(i, extras=True) for i in range(len(data))]


def made(
    name: str, root: Path, out: Path, *outputs: str, strict: bool = False, quirks: bool = False, photos: bool = True
) -> Made:
    """Convert in this process; `body_models` is looked for beside the raw tree."""
    options = Options(root, quirks, photos, root.parent / "body_models")
    outcomes = convert(name, options, out, outputs=outputs, strict=strict)
    files = {o.output: HumanData.open(o.path) for o in outcomes if o.path is not None}
    return Made(files, tuple(str(p) for o in outcomes for p in o.problems))
