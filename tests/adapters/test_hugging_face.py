"""Growing batches in Hugging Face's real trainer, on a CPU: batches, samples, rates and gradients by hand; resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch import BatchSchedule, ConfigError, GrowingBatchSampler

pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]
transformers = pytest.importorskip("transformers")

INPUTS = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None] ** torch.arange(1, 4)
TARGETS = INPUTS @ torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.seen: list[list[int]] = []

    def forward(self, index: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if self.training:
            self.seen.append(index.tolist())
        outputs = INPUTS[index] @ self.weights
        return {"loss": ((outputs - TARGETS[index]) ** 2).mean(), "logits": outputs}


def make_schedule(**arguments: Any) -> BatchSchedule:
    """Batches of 4, 8 and 16 of 20 samples in epochs 1, 2 and 3, at rates of 0.1, 0.05 and 0.025."""
    given = {"batch_size": 4, "every_epochs": 1, "learning_rate_decay": 0.5, **arguments}
    return BatchSchedule("adabatch", num_train_samples=20, num_epochs=3, learning_rate=0.1, **given)


def make_trainer(folder: Path, cap: int = 5, schedule: BatchSchedule | None = None, **arguments: Any) -> Any:
    from adabatch.adapters.hugging_face import BatchScheduleMixin

    class GrowingTrainer(BatchScheduleMixin, transformers.Trainer):  # type: ignore[name-defined]
        pass

    given = {"learning_rate": 0.1, "num_train_epochs": 3, "per_device_train_batch_size": cap, "optim": "sgd"}
    given |= {"use_cpu": True, "report_to": [], "logging_steps": 1, "save_strategy": "no", "max_grad_norm": 0.0}
    given |= {"optim_args": "momentum=0.9", "disable_tqdm": True, "seed": 7, "weight_decay": 0.0}
    args = transformers.TrainingArguments(output_dir=str(folder), **{**given, **arguments})
    samples = [{"index": index, "labels": 0} for index in range(20)]
    return GrowingTrainer(
        Linear(), args, train_dataset=samples, eval_dataset=samples, batch_schedule=schedule or make_schedule()
    )


def by_hand() -> torch.Tensor:
    """Return the weights of a plain loop that takes each update as one batch."""
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    sampler = GrowingBatchSampler(20, make_schedule(), seed=7)
    for _ in sampler.epochs():
        for update in sampler.updates(sampler):
            (micro,) = update
            sgd.param_groups[0]["lr"] = update.learning_rate
            sgd.zero_grad()
            ((INPUTS[micro.batch] @ weights - TARGETS[micro.batch]) ** 2).mean().backward()
            sgd.step()
    return weights.detach()


@pytest.mark.parametrize("cap", [3, 5, 16])
def test_batches_rates_and_gradients_are_those_of_the_schedule(tmp_path: Path, cap: int) -> None:
    trainer = make_trainer(tmp_path, cap, eval_strategy="epoch")
    trainer.train()
    # 5, 3 and 2 updates; of the second epoch's 8, 8 and 4 samples at most `cap` at a time
    second = {3: [3, 3, 2, 3, 3, 2, 2, 2], 5: [4, 4, 4, 4, 4], 16: [8, 8, 4]}[cap]
    sizes = [len(batch) for batch in trainer.model.seen]
    first = 10 if cap == 3 else 5  # 4 = 2 + 2
    assert sizes[first : first + len(second)] == second
    used = [index for batch in trainer.model.seen for index in batch]
    for epoch in range(3):
        assert sorted(used[20 * epoch : 20 * epoch + 20]) == list(range(20))
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.1] * 5 + [0.05] * 3 + [0.025] * 2)
    tests = [entry["epoch"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert tests == [1, 2, 3]
    torch.testing.assert_close(trainer.model.weights.detach(), by_hand(), rtol=1e-12, atol=1e-14)


def test_a_checkpoint_goes_on_with_what_was_not_used(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path, save_strategy="steps", save_steps=1)
    whole.train()
    for step in (2, 5, 6, 9):  # within epochs, and at the end of the first one
        resumed = make_trainer(tmp_path / "resumed")
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert resumed.model.seen == whole.model.seen[len(whole.model.seen) - len(resumed.model.seen) :]
        assert resumed.state.global_step == 10
        assert resumed.sampler.progress.epoch == 4
        torch.testing.assert_close(resumed.model.weights, whole.model.weights, rtol=0, atol=0)


def test_workers_and_dropped_batches(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, 16, dataloader_num_workers=2, dataloader_drop_last=True)
    trainer.train()
    assert [len(batch) for batch in trainer.model.seen] == [4] * 5 + [8, 8] + [16]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"learning_rate": 0.2}, "learning_rate is 0.2; it must be 0.1, the schedule's base rate"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps is 2; it must be 1"),
        ({"max_steps": 7}, "max_steps is 7; it must be -1"),
        ({"num_train_epochs": 4}, "num_train_epochs is 4; it must be 3, as in the schedule"),
    ],
)
def test_arguments_that_contradict_the_schedule_are_refused(
    tmp_path: Path, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_trainer(tmp_path, **arguments)


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_strategy="steps", save_steps=4).train()
    other = make_trainer(tmp_path / "other", schedule=make_schedule(batch_size=5))
    with pytest.raises(ConfigError, match="schedule.batch_size is 5; it must be 4, as in the saved state"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
