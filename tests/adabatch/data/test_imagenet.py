"""Folders of JPEGs, decoded in this process and in workers."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from adabatch.errors import ConfigError, DataError
from tests.adabatch.data.files import all_of, load, write_image_folder
from tests.adabatch.support import not_none
from tests.support import wait_until

SIZES = {"num_train_samples": 8, "num_test_samples": 4, "num_classes": 2, "image_size": 16}


@pytest.fixture
def folder(tmp_path):
    write_image_folder(tmp_path, num_train=4, num_test=2)
    return tmp_path


def load_folder(folder, **values):
    return load("imagenet", **{"root": folder, **SIZES, "num_workers": 0, **values})


def test_labels_and_shapes(folder):
    dataset = load_folder(folder)
    images, labels = all_of(dataset.train)
    assert images.shape == (8, 3, 16, 16)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [0] * 4 + [1] * 4
    assert all_of(dataset.test)[1].tolist() == [0, 0, 1, 1]
    assert all_of(load_folder(folder, channels_last=False).train)[0].is_contiguous()


def test_test_images_are_the_middle_of_the_scaled_image(folder):
    # 224 pixels of the middle of 256: here 16 of round(16 * 256 / 224) = 18
    images, _ = all_of(load_folder(folder, mean=[0.0], std=[1.0]).test)
    with Image.open(folder / "val" / "dog" / "1.JPEG") as image:
        scaled = image.resize((22, 18), Image.Resampling.BILINEAR)  # 50 * 18 / 40 = 22.5
    expected = np.array(scaled)[1:17, 3:19].transpose(2, 0, 1)
    torch.testing.assert_close(images[3] * 255, torch.tensor(expected).float())


@pytest.mark.slow
def test_workers_and_batches_change_nothing(folder):
    here, elsewhere = load_folder(folder).train, load_folder(folder, num_workers=2).train
    indices = torch.arange(8)
    for epoch in (1, 2):
        whole, labels = next(iter(here.iterate(epoch, 3, [indices])))
        batches = (torch.tensor([5, 2]), torch.tensor([7]), torch.tensor([0, 1, 3, 4, 6]))
        for batch, (images, batch_labels) in zip(batches, elsewhere.iterate(epoch, 3, batches), strict=True):
            assert torch.equal(images, whole[batch])
            assert torch.equal(batch_labels, labels[batch])
    other_epoch, _ = next(iter(here.iterate(1, 3, [indices])))
    assert not torch.equal(other_epoch, whole)


def test_batches_larger_than_what_a_worker_decodes_at_once(folder):
    indices = torch.arange(8).repeat(20)
    images, labels = next(iter(load_folder(folder).test.iterate(1, 0, [indices % 4])))
    assert len(images) == len(labels) == 160
    assert torch.equal(images[:4], images[156:])


def test_decoding_leaves_the_global_generator_alone(folder):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    all_of(load_folder(folder).train)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("kept", [0, 300, 600])
def test_a_corrupt_file_is_named(folder, num_workers, kept):
    path = folder / "train" / "cat" / "2.JPEG"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError) as error:
        all_of(load_folder(folder, num_workers=num_workers).train)
    assert str(error.value).startswith(f"{path} cannot be read as an image: it is truncated or corrupt")


def test_wrong_folders_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="dataset.num_train_samples is 1281167; it must be 8, as "):
        load_folder(folder, num_train_samples=1281167)
    with pytest.raises(ConfigError, match="dataset.crop_padding is 4; it must be 0 for imagenet"):
        load_folder(folder, crop_padding=4)
    with pytest.raises(ConfigError, match="not found in .*elsewhere.*train/CLASS"):
        load_folder(tmp_path / "elsewhere")
    (folder / "val" / "bird").mkdir()
    with pytest.raises(ConfigError, match="must hold a folder of images for each class"):
        load_folder(folder)
    Image.new("RGB", (9, 9)).save(folder / "val" / "bird" / "1.png")
    with pytest.raises(ConfigError, match="must hold the same classes, but only one has bird"):
        load_folder(folder)


def test_found_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ADABATCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    write_image_folder(tmp_path / "data" / "imagenet", num_train=4, num_test=2)
    assert load_folder(None).train.num_samples == 8


@pytest.mark.slow
def test_workers_end_with_a_source_that_an_error_left_in_a_cycle(folder):
    before = set(multiprocessing.active_children())
    source = load_folder(folder, num_workers=1).train
    cycle = [source, source.iterate(1, 0, [torch.arange(2), torch.arange(2, 4)])]
    cycle.append(cycle)
    next(cycle[1])
    assert set(multiprocessing.active_children()) - before
    del source, cycle
    gc.collect()
    assert not set(multiprocessing.active_children()) - before


TRAINER = """
import multiprocessing, sys, time
from pathlib import Path
from tests.adabatch.data.files import all_of
from tests.adabatch.data.test_imagenet import load_folder

if __name__ == "__main__":
    source = load_folder(Path(sys.argv[1]), num_workers=1).train
    all_of(source)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(1000)
"""


@pytest.mark.slow
def test_workers_end_with_a_trainer_that_was_killed(folder, tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, env=environment
    ) as trainer:
        workers = [int(word) for word in not_none(trainer.stdout).readline().split()]
        assert len(workers) == 1
        os.kill(workers[0], 0)
        trainer.send_signal(signal.SIGKILL)

    def has_ended() -> bool:
        try:
            os.kill(workers[0], 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(has_ended)
