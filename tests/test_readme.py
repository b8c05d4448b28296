"""The README is true: its commands exist, its Python runs, its order is the agreed one."""

import re
import shlex
from pathlib import Path

import pytest

from openexpose.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_sections_stand_in_order() -> None:
    titles = re.findall(r"^## (.*)$", README, re.M)
    want = ["Set up", "Three things to do", "Ten lines of Python", "The licensed files", "Results", "Limits", "Licence"]
    assert [t for t in titles if t in want] == want


@pytest.mark.parametrize("step", [1, 2])
def test_set_up_commands_are_where_ci_reads_them(step: int) -> None:
    found = re.search(rf"<!-- set-up {step} -->\n```bash\n(.*?)```", README, re.S)
    assert found and len(found[1].strip().splitlines()) == 1


def test_python_block_is_ten_lines_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from", "print"))]
    assert len(lines) <= 10
    exec(compile(code, "README.md", "exec"), {})
    assert "torch.Size([4, " in capsys.readouterr().out


def test_commands_exist() -> None:
    named = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("openexpose ")]
    assert len(named) == 3
    for line in named:
        words = shlex.split(line.split("#")[0])[1:]
        assert any(" ".join(words[:n]) in COMMANDS for n in (1, 2)), line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_documents_name_commands_that_exist() -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        for words in re.findall(
            r"^openexpose ([a-z][a-z-]*(?: [a-z0-9][a-z0-9-]*)?)", path.read_text(encoding="utf8"), re.M
        ):
            parts = words.split()
            assert any(" ".join(parts[:n]) in COMMANDS for n in (1, 2)), f"{path.name}: openexpose {words}"
