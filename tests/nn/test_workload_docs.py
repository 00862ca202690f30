"""``docs/workloads.md`` states every key of a workload file, its default and its meaning, as the schema does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelsim.nn import schema
from accelsim.nn.loader import load_network
from accelsim.nn.shapes import KINDS
from accelsim.validation import FileModel

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
MODELS = [
    schema.WorkloadFile, schema.InputKeys, schema.DatasetKeys, schema.CalibrationKeys, schema.NamedKeys,
    schema.LayerKeys, schema.ConvKeys, schema.FcKeys, schema.GemmKeys, schema.PoolKeys, schema.AvgPoolKeys,
    schema.AddKeys, schema.ConcatKeys, schema.LrnKeys, schema.LeakyReluKeys, schema.HardSigmoidKeys, schema.ClipKeys,
]  # fmt: skip


def table(model: type[FileModel]) -> str:
    """The rows of one model's own keys; inherited ones stand in the table of their base."""
    inherited = model.__mro__[1].model_fields if model.__mro__[1] is not FileModel else {}
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in inherited or name == "kind":
            continue
        default = "required" if field.is_required() else shown(field.default)
        rows.append(f"| `{field.alias or name}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def shown(value: Any) -> str:
    if value is None or isinstance(value, FileModel):
        return ""
    if isinstance(value, tuple):
        return str(value[0])
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_the_page_has_the_table(model):
    assert table(model) in PAGE


def test_the_example_of_the_page_loads(tmp_path):
    example = PAGE.split("```yaml\n", 1)[1].split("```", 1)[0]
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    network = load_network(path)
    assert [row[1] for row in network.quantize().rows] == ["conv", "depthwise", "maxpool", "flatten", "fc", "softmax"]


def test_the_json_schema_names_every_kind():
    text = str(schema.workload_json_schema())
    for kind in KINDS:
        assert f"'{kind}'" in text
