"""The command line's entry: help, wrong commands, errors without tracebacks."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from openexpose.cli.main import COMMANDS, main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert name in text


def test_help_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["body", "--help"]) == 0
    text = capsys.readouterr().out
    assert "body convert" in text and "weights import" not in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_has_its_dataclass_and_run(name: str) -> None:
    """Read, not imported: importing all commands takes seconds."""
    module, _, cls = COMMANDS[name][0].partition(":")
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf8"))
    classes = {n.name: ast.get_docstring(n) or "" for n in tree.body if isinstance(n, ast.ClassDef)}
    named = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert cls in classes or cls in named, f"{module} has no {cls}"
    line = classes.get(cls, classes.get("Settings", "")).splitlines()[0]
    assert line == COMMANDS[name][1], f"{name}: main.py and {cls} describe it differently"
    assert "run" in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert "no command" in capsys.readouterr().err


def test_an_error_is_one_message_without_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["body", "show", str(tmp_path / "absent.npz")]) == 2
    err = capsys.readouterr().err
    assert "error:" in err and "absent.npz" in err and "Traceback" not in err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from openexpose.cli.main import main; main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
