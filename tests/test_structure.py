"""The shape of the program is itself a test: layers, cycles, sizes, licences, unsafe calls, words in the docs."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PACKAGE = SRC / "openexpose"

LAYERS = [
    {"errors"},
    {"extras", "readers"},
    {"assets", "images", "geometry", "skeleton"},
    {"body", "render"},
    {"nets", "data"},
    {"prediction"},
    {"synth", "losses", "metrics", "weights", "export"},
    {"detect"},
    {"predict"},
    {"evaluate"},
    {"train"},
    {"cli"},
]
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names}

BANNED_PACKAGES = {
    "smplx", "chumpy", "mmcv", "mmcv-full", "pytorch3d", "detectron2", "pyrender", "nvdiffrast", "ultralytics",
    "albumentationsx",
}  # fmt: skip
BANNED_VERSIONS = {("lightning", "2.6.2"), ("lightning", "2.6.3")}
BANNED_CALLS = {"pickle.load", "pickle.loads", "eval", "exec", "os.system", "np.random.seed", "torch.manual_seed"}
ALLOWED_CALLS = {
    # Anny's own distributions draw from torch's global generator; the build forks it, so nobody else notices.
    ("body/build_free/people.py", "torch.manual_seed"),
}


def modules() -> dict[str, tuple[Path, ast.Module]]:
    out = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        out[name] = (path, ast.parse(path.read_text(encoding="utf8")))
    return out


MODULES = modules()


def imported(name: str, tree: ast.Module, *, anywhere: bool) -> set[str]:
    """Modules of this package that one module imports; at its top level only, unless `anywhere`."""
    found: set[str] = set()
    nodes = ast.walk(tree) if anywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for a in node.names:
                full = f"{node.module}.{a.name}"
                found.add(full if full in MODULES else node.module)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{name}: relative import; write it out")
    return {f for f in found if f in MODULES and f != name}


def floor(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_package_has_a_layer() -> None:
    known = set(LAYER) | {"", "__main__"}
    assert {floor(m) for m in MODULES} <= known, sorted({floor(m) for m in MODULES} - known)


def test_imports_only_go_down() -> None:
    for name, (_, tree) in MODULES.items():
        here = floor(name)
        if here in ("", "__main__"):
            continue
        for target in imported(name, tree, anywhere=True):
            there = floor(target)
            if there in ("", here):
                continue
            assert LAYER[there] < LAYER[here], f"{name} imports {target}: not a lower layer"


def test_no_import_cycles() -> None:
    graph = {n: imported(n, t, anywhere=False) for n, (_, t) in MODULES.items()}
    done: set[str] = set()

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, " -> ".join((*path[path.index(node) :], node))
        if node not in done:
            for target in graph[node]:
                if not node.startswith(target + "."):  # a package's __init__ names its modules
                    visit(target, (*path, node))
            done.add(node)

    for node in graph:
        visit(node, ())


def test_files_and_functions_stay_small() -> None:
    for path, tree in MODULES.values():
        lines = path.read_text(encoding="utf8").count("\n")
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; split it by noun"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                size = node.end_lineno - node.lineno + 1
                assert size <= 80, f"{path.relative_to(ROOT)}: {node.name} has {size} lines"


def test_no_unsafe_calls() -> None:
    for path, tree in MODULES.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name, where = ast.unparse(node.func), f"{path.relative_to(ROOT)}:{node.lineno}"
            known = (path.relative_to(PACKAGE).as_posix(), name) in ALLOWED_CALLS
            assert known or name not in BANNED_CALLS, f"{where} calls {name}"
            if name == "torch.load":
                safe = [k for k in node.keywords if k.arg == "weights_only" and ast.unparse(k.value) == "True"]
                assert safe, f"{where} torch.load without weights_only=True"
            if name in ("np.load", "numpy.load"):
                risky = [k for k in node.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
                assert not risky, f"{where} numpy would unpickle"


def test_public_things_have_docstrings() -> None:
    for name, (_, tree) in MODULES.items():
        assert ast.get_docstring(tree) or not tree.body, f"{name} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


def test_no_postponed_annotations() -> None:
    for name, (_, tree) in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                assert node.module != "__future__", f"{name}: jaxtyping cannot check postponed annotations"


def requirements(name: str) -> set[str]:
    lines = importlib.metadata.requires(name) or []
    return {re.split(r"[ ;<>=!\[(~]", line)[0].lower() for line in lines if "extra ==" not in line}


def test_no_banned_dependency_is_declared_or_pulled_in() -> None:
    declared = {re.split(r"[ ;<>=!\[(~]", line)[0].lower() for line in importlib.metadata.requires("openexpose") or []}
    assert not declared & BANNED_PACKAGES
    seen: set[str] = set()
    todo = {"openexpose"}
    while todo:
        name = todo.pop()
        seen.add(name)
        try:
            todo |= requirements(name) - seen
        except importlib.metadata.PackageNotFoundError:
            continue
    assert not seen & BANNED_PACKAGES, sorted(seen & BANNED_PACKAGES)
    for name, version in BANNED_VERSIONS:
        assert importlib.metadata.version(name) != version, f"{name} {version} was a malicious release"


def test_banned_packages_are_imported_nowhere() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                assert name.partition(".")[0] not in BANNED_PACKAGES, f"{path.relative_to(ROOT)} imports {name}"


def test_every_shipped_data_file_stands_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf8")
    shipped = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".typed")]
    for path in shipped:
        folder = path.parent.relative_to(PACKAGE).as_posix()
        assert path.name in notice or f"{folder}/*{path.suffix}" in notice, f"{path.relative_to(ROOT)} is not in NOTICE"


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf8")
    for name in set(re.findall(r"`((?:src|tests|docs|benchmarks|examples)/[\w./-]+)`", text)):
        assert (ROOT / name).exists(), f"ARCHITECTURE.md names {name}, which does not exist"


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "NOTICE", "LICENSE", "CONTRIBUTING.md"]
)
def test_project_papers_exist(name: str) -> None:
    assert (ROOT / name).stat().st_size > 100


def test_python_version_floor_matches() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf8")
    assert 'requires-python = ">=3.11"' in text and sys.version_info >= (3, 11)
