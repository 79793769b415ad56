"""Growing batches in Lightning's real trainer, on a CPU: batches, samples, rates and gradients by hand; resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch import BatchSchedule, ConfigError, GrowingBatchSampler

# Lightning warns of much that is not ours.
pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]
lightning = pytest.importorskip("lightning.pytorch")

INPUTS = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None] ** torch.arange(1, 4)
TARGETS = INPUTS @ torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)


def make_sampler(cap: int | None = 5) -> GrowingBatchSampler:
    """Batches of 4, 8 and 16 of 20 samples in epochs 1, 2 and 3, at rates of 0.1, 0.05 and 0.025."""
    schedule = BatchSchedule(
        "adabatch",
        num_train_samples=20,
        num_epochs=3,
        learning_rate=0.1,
        batch_size=4,
        every_epochs=1,
        learning_rate_decay=0.5,
    )
    return GrowingBatchSampler(20, schedule, max_micro_batch_size=cap)


class Module(lightning.LightningModule):  # type: ignore[name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.seen: list[list[int]] = []
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        (indices,) = batch
        self.seen.append(indices.tolist())
        return ((INPUTS[indices] @ self.weights - TARGETS[indices]) ** 2).mean()

    def optimizer_step(self, *arguments: Any, **words: Any) -> None:
        super().optimizer_step(*arguments, **words)
        self.rates.append(self.optimizers().param_groups[0]["lr"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def make_trainer(sampler: GrowingBatchSampler, folder: Path, **options: Any) -> Any:
    from adabatch.adapters.lightning import BatchScheduleCallback

    callbacks = [BatchScheduleCallback(sampler), *options.pop("callbacks", [])]
    given = {"max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_progress_bar": False, **options}
    given = {"enable_model_summary": False, "enable_checkpointing": len(callbacks) > 1, **given}
    return lightning.Trainer(default_root_dir=folder, callbacks=callbacks, **given)


def loader_of(sampler: GrowingBatchSampler, **options: Any) -> Any:
    from adabatch.adapters.lightning import GrowingDataLoader

    return GrowingDataLoader(torch.utils.data.TensorDataset(torch.arange(20)), sampler, **options)


def by_hand() -> torch.Tensor:
    """Return the weights of a plain loop that takes each update as one batch."""
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    sampler = make_sampler(None)
    for _ in sampler.epochs():
        for update in sampler.updates(sampler):
            (micro,) = update
            sgd.param_groups[0]["lr"] = update.learning_rate
            sgd.zero_grad()
            ((INPUTS[micro.batch] @ weights - TARGETS[micro.batch]) ** 2).mean().backward()
            sgd.step()
    return weights.detach()


def test_batches_rates_and_gradients_are_those_of_the_schedule(tmp_path: Path) -> None:
    sampler, module = make_sampler(), Module()
    make_trainer(sampler, tmp_path).fit(module, loader_of(sampler))
    # 4s; 8 = 4 + 4 and a rest of 4; 16 = 4 x 4 and a rest of 4
    assert [len(batch) for batch in module.seen] == [4] * 5 + [4] * 5 + [4] * 5
    for epoch in range(3):
        used = [index for batch in module.seen[5 * epoch : 5 * epoch + 5] for index in batch]
        assert sorted(used) == list(range(20))
    assert module.rates == pytest.approx([0.1] * 5 + [0.05] * 3 + [0.025] * 2)
    torch.testing.assert_close(module.weights.detach(), by_hand(), rtol=1e-12, atol=1e-14)


def test_uneven_micro_batches_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    sampler, module = make_sampler(3), Module()
    make_trainer(sampler, tmp_path).fit(module, loader_of(sampler))
    assert [len(batch) for batch in module.seen[10:18]] == [3, 3, 2, 3, 3, 2, 2, 2]  # epoch 2: 8, 8 and 4
    torch.testing.assert_close(module.weights.detach(), by_hand(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("every", ["epoch", "two updates"])
def test_a_checkpoint_goes_on_with_what_was_not_used(tmp_path: Path, every: str) -> None:
    options = {"every_n_epochs": 1} if every == "epoch" else {"every_n_train_steps": 2}
    saving = lightning.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, **options)
    sampler, whole = make_sampler(), Module()
    make_trainer(sampler, tmp_path, callbacks=[saving]).fit(whole, loader_of(sampler))
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == (3 if every == "epoch" else 5)
    for checkpoint in checkpoints:
        sampler, resumed = make_sampler(), Module()
        make_trainer(sampler, tmp_path).fit(resumed, loader_of(sampler, num_workers=0), ckpt_path=checkpoint)
        assert resumed.seen == whole.seen[len(whole.seen) - len(resumed.seen) :]
        assert sampler.progress.epoch == 4
        torch.testing.assert_close(resumed.weights, whole.weights, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
def test_workers_change_nothing(tmp_path: Path) -> None:
    sampler, module = make_sampler(), Module()
    make_trainer(sampler, tmp_path).fit(module, loader_of(sampler, num_workers=2, persistent_workers=True))
    torch.testing.assert_close(module.weights.detach(), by_hand(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_epochs": 4}, "max_epochs is 4; it must be at most num_epochs=3"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches is 2; it must be 1"),
        ({"limit_train_batches": 2}, "the number of training batches is 2; it must be 5, without any limit"),
    ],
)
def test_a_trainer_that_would_do_otherwise_is_refused(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    sampler = make_sampler()
    with pytest.raises(ConfigError, match=sentence):
        make_trainer(sampler, tmp_path, **options).fit(Module(), loader_of(sampler))


def test_another_loader_or_a_scheduler_is_refused(tmp_path: Path) -> None:
    class Scheduled(Module):
        def configure_optimizers(self) -> Any:
            sgd = super().configure_optimizers()
            return [sgd], [torch.optim.lr_scheduler.StepLR(sgd, 1)]

    sampler = make_sampler()
    with pytest.raises(ConfigError, match="the number of learning-rate schedulers is 1; it must be 0"):
        make_trainer(sampler, tmp_path).fit(Scheduled(), loader_of(sampler))
    with pytest.raises(ConfigError, match="the training loader is GrowingDataLoader; it must be"):
        make_trainer(make_sampler(), tmp_path).fit(Module(), loader_of(make_sampler()))
