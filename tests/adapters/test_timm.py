"""Models of the real timm: any channels, classes and image sizes, resume, sweeps, and the version on record."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch import ConfigError
from adabatch.networks.registry import build_by_path
from adabatch.tools.verify_resume import main as verify_resume

pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]
timm = pytest.importorskip("timm")

SMALL = ("dataset=digits", "dataset.limit=128", "dataset.test_limit=64", "num_epochs=2", "hardware.num_threads=1")
SWEEP = """
name: models
overrides: [dataset=digits, dataset.limit=64, dataset.test_limit=32, num_epochs=2, "network=timm:test_vit",
            network.args.patch_size=4, network.args.drop_path_rate=0.1, hardware.num_threads=1]
grid: {}
seeds: [0, 1]
baseline: small
target: 0.5
arms:
  growing: [schedule=adabatch, schedule.batch_size=16, schedule.every_epochs=1]
  small: twin(growing)
"""


def call(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE WORDS`` in a folder as a user would."""
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def built(name: str, shape: tuple[int, ...] = (3, 32, 32), **args: Any) -> torch.nn.Module:
    return build_by_path(f"timm:{name}", args, shape, 5)


def test_a_run_records_the_version_and_others_are_not_compared_with_it(tmp_path: Path) -> None:
    for arm, words in {"a": ["schedule=fixed"], "b": ["schedule=adabatch", "schedule.every_epochs=1"]}.items():
        answer = call(tmp_path, "adabatch", *SMALL, "network=timm:resnet18", f"run_dir=runs/{arm}", *words)
        assert answer.returncode == 0, answer.stderr
    meta = json.loads((tmp_path / "runs/a/meta.json").read_text())
    # 11,689,512 for ImageNet: less 2 of 3 channels of 64 filters of 7 x 7, and 990 of 1,000 classes of 512 + 1
    assert meta["num_parameters"] == 11_689_512 - 2 * 64 * 49 - 990 * 513
    assert meta["network_code"] == meta["own_code"]["network"]["identity"] == f"timm=={timm.__version__}"
    same = json.loads(call(tmp_path, "analysis", "tables", "runs", "--format", "json").stdout)
    assert "network_code" not in [row["key"] for row in same["refused"]]

    meta["network_code"] = meta["own_code"]["network"]["identity"] = "timm==0.9.16"
    (tmp_path / "runs/a/meta.json").write_text(json.dumps(meta))
    tables = call(tmp_path, "analysis", "tables", "runs", "--format", "json")
    assert tables.returncode == 1
    assert "network_code" in [row["key"] for row in json.loads(tables.stdout)["refused"]]
    (tmp_path / "runs/a/DONE").unlink()
    resumed = call(tmp_path, "adabatch.resume", "runs/a")
    assert resumed.returncode == 2
    assert "trained with the network code timm==0.9.16, and the code found now is timm==" in resumed.stderr


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (2, 32), (4, 48)])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_models_take_the_data_sets_images(name: str, channels: int, size: int) -> None:
    # Patches of 16 pixels do not fit into images of 8.
    args = {"patch_size": 4} if name == "test_vit" else {}
    network = built(name, (channels, size, size), **args).eval()
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 5)


def test_a_transformer_is_made_for_the_data_sets_image_size() -> None:
    # One position for each patch, and one for the class token.
    assert dict(built("vit_tiny_patch16_224").named_parameters())["pos_embed"].shape[1] == 4 + 1
    given = built("vit_tiny_patch16_224", img_size=64, patch_size=8)
    assert dict(given.named_parameters())["pos_embed"].shape[1] == 64 + 1


def test_arguments_reach_the_model() -> None:
    network = built("vit_tiny_patch16_224", depth=2, embed_dim=48, num_heads=3)
    assert len(network.blocks) == 2  # type: ignore[arg-type]
    assert network.head.in_features == 48  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("resnet_18", {}, r"network\.path is timm:resnet_18; it must be one of .* Did you mean timm:resnet18\?"),
        ("resnet18.a1_in1k", {}, r"Did you mean timm:resnet18\?"),
        ("", {}, r"network\.path is timm:; it must be one of the \d+ models"),
        ("resnet18", {"pretrained": True}, r"network\.args\.pretrained is True; it must be left out: compared runs"),
        ("resnet18", {"checkpoint_path": "w.pth"}, r"checkpoint_path is w\.pth; it must be left out"),
        ("resnet18", {"in_chans": 3}, r"network\.args\.in_chans is 3; it must be left out: it follows from the data"),
        ("resnet18", {"num_classes": 3}, r"network\.args\.num_classes is 3; it must be left out"),
        ("resnet18", {"widht": 3}, r"timm cannot build it with network\.args=\{'widht': 3\} \(.*unexpected.*'widht'\)"),
        ("resnet18", {"block": "x"}, r"timm cannot build it with network\.args=\{'block': 'x'\}"),
        ("test_vit", {"img_size": "large"}, r"timm cannot build it with network\.args=\{'img_size': 'large'\}"),
    ],
)
def test_a_mistake_costs_a_sentence(name: str, args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        built(name, **args)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["network.args.img_size=16"], r"network\.path is timm:test_vit, whose forward raised \w+: .*\(8\).*\(16\)"),
        (["network.args.features_only=true", "network.args.patch_size=4"], r"it returns a list; it must return logits"),
    ],
)
def test_a_model_is_tried_out_first(tmp_path: Path, words: list[str], sentence: str) -> None:
    answer = call(tmp_path, "adabatch", *SMALL, "network=timm:test_vit", "run_dir=run", *words)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert re.search(sentence, answer.stderr), answer.stderr


def test_a_killed_run_resumes_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["network=timm:test_vit", "network.args.patch_size=4", "network.args.proj_drop_rate=0.2"]
    assert verify_resume([*SMALL, *words, "schedule.batch_size=8", "num_epochs=4", "--kills", "2"]) == 0


def test_a_sweep_is_planned_trained_and_compared(tmp_path: Path) -> None:
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "conf" / "sweep" / "models.yaml").write_text(SWEEP)
    plan = call(tmp_path, "launch", "plan", "sweep=models", "--config-dir", "conf")
    assert plan.returncode == 0, plan.stderr
    assert "timm.test_vit" in plan.stdout
    submitted = call(tmp_path, "launch", "submit", "sweep=models", "cluster=local", "--config-dir", "conf")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    tables = call(tmp_path, "analysis", "tables", "runs/models", "--format", "json")
    assert tables.returncode == 0, tables.stderr
    content = json.loads(tables.stdout)
    assert content["refused"] == []
    groups = {row["group"] for row in content["numbers"] if row["quantity"] == "total_verdict"}
    assert groups == {"digits-timm.test_vit"}
