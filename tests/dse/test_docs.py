"""``docs/sweeps.md`` states every key of a sweep file and its meaning; its sweep file is one."""

from __future__ import annotations

import re
from pathlib import Path

from accelsim.dse.load import load_sweep
from accelsim.dse.schema import SweepFile, sweep_json_schema

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_every_key_and_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", PAGE.partition("- **Axes**")[0], re.MULTILINE)
    fields = {info.alias or name: info.description for name, info in SweepFile.model_fields.items()}
    assert dict(rows) == fields
    assert set(sweep_json_schema()["properties"]) == set(fields)


def test_the_example_is_a_sweep_file(tmp_path: Path) -> None:
    text = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0].replace("my_net.yaml", "lenet_tanh")
    (tmp_path / "example.yaml").write_text(text, encoding="utf-8")
    sweep = load_sweep(tmp_path / "example.yaml")
    assert sweep.size == 2 * 4 * 4 * 3 * 2 * 2
    assert any(not sweep.point(sweep.choice(number)).reason for number in range(sweep.size))
