"""That `gpu_speed` gives every arm its turns, keeps what it has, and writes what its table shows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_ours, gpu_speed
from benchmarks.__main__ import main
from benchmarks.gpu_case import arms_before_compiling
from benchmarks.measure import BenchmarkFailed
from benchmarks.served import OutOfTime, ServedArms
from tests.adabatch.training.recorders import EagerRecorder, RefusingRecorder

pytestmark = pytest.mark.slow  # a file of results begins with what nvidia-smi says
#: Samples/s of an arm in a case of 57,344 samples.
RATES = {
    "reference": 1024, "eager fp32": 2048, "eager bf16": 4096, "graphs fp32": 4096, "graphs bf16": 6144,
    "graphs + compile bf16": 7168, "bare bf16": 8192,
}  # fmt: skip
ORDER = {
    "case": {
        "network": "tiny_cnn", "batch_size": 8, "num_samples": 16, "precisions": ["fp32"], "device": "cpu",
        "repetitions": 1, "num_workers": 0, "max_micro_batch_size": "null", "fashion_mnist": False,
    }
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class FakeArms:
    """Arms whose turns take ten seconds each; compiling never ends, and bf16 without graphs breaks for VGG."""

    clock: Clock
    started: list[str]
    turns: list[tuple[str, str]]

    def __init__(self, module: str, order: Mapping[str, Any]) -> None:
        self._network = f"{order['case']['network']}:{order['case']['batch_size']}"
        self.started.append(module)

    def measure(self, arm: str, max_seconds: float) -> dict[str, Any]:
        self.turns.append((self._network, arm))
        if arm == "graphs + compile bf16" and self._network != "resnet20:128":
            self.clock.now += max_seconds
            raise OutOfTime(f"it took longer than the {max_seconds:.0f} s that were left for it")
        self.clock.now += 10.0
        if (self._network, arm) == ("vgg19_bn:128", "eager bf16"):
            raise BenchmarkFailed("no such kernel")
        return {"seconds": 57344 / RATES[arm], "num_samples": 57344, "build_seconds": 1.0, "growth_seconds": 0.5}

    def stop(self) -> None:
        self.started.append("stopped")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeArms]:
    FakeArms.clock, FakeArms.started, FakeArms.turns = Clock(), [], []
    monkeypatch.setattr(gpu_speed, "time", FakeArms.clock)
    monkeypatch.setattr(gpu_speed, "ServedArms", FakeArms)
    monkeypatch.setattr(gpu_speed, "torch_devices", lambda: ["cpu", "cuda"])
    return FakeArms


def table(output: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    values = json.loads(output.read_text())["benchmarks"]["gpu_speed"]
    [found] = gpu_speed.tables(values)
    return {(row[0], row[1], row[2]): dict(zip(found.columns, row, strict=True)) for row in found.rows}


def test_all_cases_come_before_compiling_and_the_time_ends_it(
    fake: type[FakeArms], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six turns of 10 s make a round of 60 s. Of 500 s, 300 are for the cases: 75, 150, 225 and 300 by the end of each.

    So VGG has a second round, of five arms, until 290 s; then two rounds of 40 s with the compiled ResNet-20 end at
    370 s, and AlexNet's compiling takes the rest.
    """
    output = tmp_path / "gpu.json"
    words = ["gpu_speed", "--gpu-seconds", "500", "--wait", "0", "--repetitions", "3", "-o", str(output)]
    assert main(words) == 1
    networks = ["resnet20:128", "resnet20:1024", "alexnet:256", "vgg19_bn:128"]
    assert fake.turns[:24] == [(network, arm) for network in networks for arm in arms_before_compiling("cuda")]
    assert [arm for _, arm in fake.turns[24:29]] == [
        "reference", "eager fp32", "graphs fp32", "graphs bf16", "bare bf16",
    ]  # fmt: skip
    assert {network for network, _ in fake.turns[24:29]} == {"vgg19_bn:128"}
    with_compiling = ["reference", "graphs bf16", "graphs + compile bf16", "bare bf16"]
    assert fake.turns[29:] == [("resnet20:128", arm) for arm in with_compiling * 2] + [
        ("alexnet:256", arm) for arm in with_compiling[:3]
    ]
    assert fake.started == ["benchmarks.gpu_reference", "benchmarks.gpu_ours"] * 4 + ["stopped"] * 8
    rows = table(output)
    row = rows["resnet20", "128", "graphs bf16"]
    assert (row["samples/s"], row["x reference"], row["of bare"], row["rounds"]) == (
        "6,144 (6,144-6,144)", "6.00 (6.00-6.00)", "75 (75-75) %", "3",
    )  # fmt: skip
    assert row["ready after, s"] == "1.5"
    assert rows["resnet20", "128", "graphs + compile bf16"]["x reference"] == "7.00 (7.00-7.00)"
    assert rows["resnet20", "128", "graphs fp32"]["of bare"] == ""
    assert rows["vgg19_bn", "128", "eager bf16"]["samples/s"] == "failed"
    assert rows["alexnet", "256", "graphs + compile bf16"]["samples/s"] == "no time left"
    assert rows["resnet20", "1024", "graphs + compile bf16"]["samples/s"] == "no time left"
    err = capsys.readouterr().err
    assert "resnet20 with batch 128, graphs bf16: 6,144 samples/s, 6.00 x reference" in err
    assert "vgg19_bn with batch 128, eager bf16 failed: no such kernel" in err


@pytest.mark.usefixtures("fake")
def test_what_is_known_is_kept_after_each_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    measure = FakeArms.measure

    def interrupted(arms: FakeArms, arm: str, max_seconds: float) -> dict[str, Any]:
        if FakeArms.clock.now >= 110:
            raise KeyboardInterrupt
        return measure(arms, arm, max_seconds)

    monkeypatch.setattr(FakeArms, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["gpu_speed", "--gpu-seconds", "500", "--wait", "0", "-o", str(output)])
    assert {key[:2] for key in table(output)} == {("resnet20", "128")} | {
        (network, batch) for network, batch in [("resnet20", "1024"), ("alexnet", "256"), ("vgg19_bn", "128")]
    }
    assert FakeArms.started.count("stopped") == 4


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_speed, "torch_devices", lambda: ["cpu"])
    assert main(["gpu_speed", "--wait", "0"]) == 1
    assert "gpu_speed failed: torch finds no GPU here" in capsys.readouterr().err


def test_it_can_be_tried_out_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    output = tmp_path / "gpu.json"
    assert main(["gpu_speed", "--quick", "--repetitions", "1", "-o", str(output)]) == 0
    (case,) = json.loads(output.read_text())["benchmarks"]["gpu_speed"]["cases"]
    (turns,) = case["rounds"]
    assert list(turns) == ["reference", "eager fp32", "eager bf16", "bare bf16"]
    assert all(turn["num_samples"] == 16 and turn["seconds"] > 0 for turn in turns.values())
    assert "eager bf16" in capsys.readouterr().out


def test_graphs_that_are_not_used_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchmarkFailed, match="CUDA graphs are not used: there is no GPU"):
        gpu_ours.start(ORDER)("graphs fp32")()
    monkeypatch.setattr("adabatch.training.engine.why_no_graphs", lambda *_, **__: None)
    recorder = EagerRecorder()
    monkeypatch.setattr("adabatch.training.engine.make_recorder", lambda _: recorder)
    measure = gpu_ours.start(ORDER)("graphs bf16")
    assert [measure()["num_samples"], measure()["num_samples"]] == [16, 16]
    assert (recorder.num_recorded, recorder.num_replayed) == (1, 4)
    monkeypatch.setattr("adabatch.training.engine.make_recorder", lambda _: RefusingRecorder())
    with pytest.raises(BenchmarkFailed, match="CUDA graphs are not used: the network waits for values on the GPU"):
        gpu_ours.start(ORDER)("graphs fp32")()


ECHO = """
import os, sys, time
from benchmarks.served import serve

def start(order):
    def build(arm):
        print("noise")
        if arm == "bad":
            raise ValueError("it is bad\\nreally")
        if arm == "slow":
            time.sleep(60)
        if arm == "dead":
            sys.exit("gone")
        return lambda: {"seconds": order["seconds"], "process": os.getpid(), "arm": arm}
    return build

serve(start)
"""


def test_a_child_holds_its_arms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), path]))
    arms = ServedArms("echo", {"seconds": 2.0})
    first, again = arms.measure("one", 60.0), arms.measure("one", 60.0)
    assert (first["seconds"], first["arm"], first["process"]) == (2.0, "one", again["process"])
    with pytest.raises(BenchmarkFailed, match="^it is bad$"):
        arms.measure("bad", 60.0)
    assert arms.measure("two", 60.0)["process"] == first["process"]
    with pytest.raises(OutOfTime, match="took longer than the 1 s"):
        arms.measure("slow", 1.0)
    with pytest.raises(BenchmarkFailed, match="has ended"):
        arms.measure("two", 60.0)
    arms.stop()
    other = ServedArms("echo", {"seconds": 2.0})
    with pytest.raises(BenchmarkFailed, match="(?s)exit status 1.*gone"):
        other.measure("dead", 60.0)
    other.stop()
