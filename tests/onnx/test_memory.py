"""A model of 250 MB is imported within twice its size in memory, above what the process needed before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BUILD = """
import sys
from pathlib import Path
from tests.onnx.models import alexnet, save
save(alexnet(), Path(sys.argv[1]), external=sys.argv[2] == "external")
"""

IMPORT = """
import resource, sys
import onnx
from accelsim.onnx import load_onnx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = load_onnx(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(model.graph.layers) == 19, len(model.graph.layers)
print((after - before) * 1024)
"""


def child(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the unit of ru_maxrss differs between systems")
@pytest.mark.parametrize("form", ["external", "one file"])
def test_a_large_model_is_imported_within_twice_its_size(form: str, tmp_path: Path) -> None:
    path = tmp_path / "alexnet.onnx"
    child(BUILD, str(path), form)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > 240e6
    used = int(child(IMPORT, str(path)))
    print(f"{form}: {size / 1e6:.0f} MB, {used / 1e6:.0f} MB of memory, {used / size:.2f} times its size")
    assert used <= 2 * size
