"""That made-up photographs are what is said of them, and that the benchmark on them counts right."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.__main__ import main
from benchmarks.arm import measure_in_child
from benchmarks.jpeg_case import JpegCase
from benchmarks.jpeg_files import SIZES, write_jpegs
from benchmarks.measure import BenchmarkFailed


def test_files_are_jpegs_as_large_as_imagenets(tmp_path: Path):
    write_jpegs(tmp_path / "a", num_train=6, num_val=2, num_classes=2, seed=3)
    files = sorted((tmp_path / "a").glob("*/*/*.JPEG"))
    classes = [str(path.parent.relative_to(tmp_path / "a")) for path in files]
    assert classes == ["train/class_000"] * 3 + ["train/class_001"] * 3 + ["val/class_000", "val/class_001"]
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert image.size in SIZES
        assert 75_000 < path.stat().st_size < 135_000

    write_jpegs(tmp_path / "b", num_train=6, num_val=2, num_classes=2, seed=3)
    again = sorted((tmp_path / "b").glob("*/*/*.JPEG"))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


@pytest.mark.slow
@pytest.mark.bench
def test_jpeg_loading(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "jpegs.json"
    assert main(["jpeg_loading", "--quick", "--devices", "cpu", "-o", str(output)]) == 0
    [case] = json.loads(output.read_text())["benchmarks"]["jpeg_loading"]["cases"]
    assert (case["device"], case["num_images"], case["image_size"]) == ("cpu", 20, 32)
    assert 75_000 < case["mean_file_bytes"] < 135_000
    assert case["steps"]["rounds"][0]["samples"] == 20
    assert [row["num_workers"] for row in case["by_workers"]] == [0, 1]
    for row in case["by_workers"]:
        assert [one["num_samples"] for one in row["loader"]["rounds"]] == [20]
        [together] = row["together"]["rounds"]
        assert together["samples"] == 20
        assert 0 <= together["data_seconds"] <= together["train_seconds"]
        assert len(row["loader"]["seconds"]) == len(row["together"]["seconds"]) == 1
    assert set(case["others_cores"]) == {"steps", "loader 0", "together 0", "loader 1", "together 1"}
    assert "workers needed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_turn_that_fails_ends_although_its_workers_live(tmp_path: Path):
    write_jpegs(tmp_path, num_train=8, num_val=4, num_classes=2)
    next(tmp_path.glob("train/*/*.JPEG")).write_bytes(b"no image")
    case = JpegCase(str(tmp_path), "tiny_cnn", 8, 32, 8, 4, 2, "fp32", "cpu", 1, [1])
    with pytest.raises(BenchmarkFailed, match="cannot be read as an image"):
        measure_in_child("jpeg_case", {"case": dataclasses.asdict(case), "arm": "loader", "num_workers": 1})


@pytest.mark.slow
def test_a_network_that_does_not_exist_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["jpeg_loading", "--jpeg-network", "no_such", "--jpeg-images", "8", "--devices", "cpu", "--wait", "0"]
    assert main([*words, "-o", str(tmp_path / "jpegs.json")]) == 1
    assert "network.name is no_such" in capsys.readouterr().err
