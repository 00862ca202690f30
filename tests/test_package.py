"""The package as users get it: a pure Python wheel with the bundled files, metadata, and a complete gate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from accelsim import bundled
from accelsim.bundled import available, resolve

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--wheel-dir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_pure_python(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyd", ".dll", ".dylib"))]


def test_the_wheel_holds_every_bundled_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("accelsim/_bundled/")}
    for kind in ("configs", "workloads"):
        files = [path for path in (ROOT / kind).rglob("*") if path.suffix in (".yaml", ".npz", ".npy")]
        assert {f"accelsim/_bundled/{path.relative_to(ROOT).as_posix()}" for path in files} <= packed
    assert "accelsim/_bundled/configs/edge.yaml" in packed


def test_the_wheel_holds_what_the_report_page_is_made_of(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("accelsim/page/")}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "accelsim" / "page").iterdir() if path.is_file()}
    assert files == packed
    assert {"accelsim/page/page.html", "accelsim/page/page.css", "accelsim/page/main.js"} <= packed


def test_an_installed_wheel_runs_from_any_directory(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel stands in for an installation; the checkout is not on its path."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import accelsim, sys\n"
        f"assert accelsim.__file__.startswith({str(site)!r}), accelsim.__file__\n"
        "from accelsim.cli import main\nmain(['run', 'lenet.yaml', '--arch', 'tiny'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("bit-exact: PASS (every value equals the golden model)\n")
    assert list(empty.iterdir()) == []


def test_bundled_files_are_found_in_the_package_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "accelsim"
    (package / "_bundled" / "configs").mkdir(parents=True)
    (package / "_bundled" / "configs" / "mine.yaml").write_text("schema: 1\n", encoding="utf-8")
    (package.parent / "workloads").mkdir()
    (package.parent / "workloads" / "stranger.yaml").write_text("schema: 1\n", encoding="utf-8")
    monkeypatch.setattr(bundled, "_PACKAGE", package)
    assert list(available("configs")) == ["mine"]
    assert resolve("mine.yaml", "configs") == package / "_bundled" / "configs" / "mine.yaml"
    assert available("workloads") == {}  # a folder of that name beside an installed package is not ours


def test_onnx_paths_are_left_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert resolve("net.onnx", "workloads") == Path("net.onnx")


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_metadata() -> None:
    data = project()
    assert data["requires-python"] == ">=3.11"
    assert data["license"] == "MIT"
    assert data["scripts"] == {"accelsim": "accelsim.cli:main"}
    assert set(data["optional-dependencies"]) == {"data", "dse", "onnx", "cluster", "dev"}  # type: ignore[call-overload]
    assert all(re.search(r">=\d", text) for text in data["dependencies"])  # type: ignore[attr-defined]


def test_documents_that_the_readme_names_exist() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_gate_is_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().endswith("make test")
