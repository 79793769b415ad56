"""Folders of JPEGs laid out like ImageNet: ``root/train/CLASS/*`` and ``root/val/CLASS/*``, decoded by workers."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from adabatch.data.config import DatasetConfig
from adabatch.data.files import locate, search_folders, verify_sizes
from adabatch.data.order import derived_seed
from adabatch.data.pixels import PixelNormalizer
from adabatch.data.source import Dataset, ImageFormat
from adabatch.errors import EXIT_FAILED, ConfigError, DataError

_FOLDER = "imagenet"
#: Test images are scaled to this times the crop's side, as is usual since Krizhevsky et al. 2012.
_TEST_SCALE = 256 / 224
#: Images that a worker decodes at a time, so that neither its memory nor its latency grows with the batch.
_PIECE_SIZE = 64
#: How often a worker checks whether the trainer is still running.
_WATCH_SECONDS = 2.0

#: A request to a worker: a sample's index and the seed of its augmentation.
_Key = tuple[int, int]
_Piece = tuple[torch.Tensor, torch.Tensor]


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """List the files; they are read while training. See `adabatch.data.load_dataset`."""
    if config.crop_padding:
        raise ConfigError(
            f"dataset.crop_padding is {config.crop_padding}; it must be 0 for imagenet: its crops are random anyway."
        )
    roots = search_folders(config)
    if config.root is None:
        roots = [root / _FOLDER for root in roots]
    remedy = "set dataset.root to a folder that holds train/CLASS/*.JPEG and val/CLASS/*.JPEG"
    root = locate(config, roots, lambda folder: (folder / "train").is_dir() and (folder / "val").is_dir(), remedy)
    train, test = _list_folder(root / "train"), _list_folder(root / "val")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        raise ConfigError(
            f"dataset.root is {root}; train/ and val/ must hold the same classes, but only one has {odd}."
        )
    verify_sizes(
        config,
        str(root),
        num_train_samples=len(train.samples),
        num_test_samples=len(test.samples),
        num_channels=3,
        num_classes=len(train.classes),
    )
    return Dataset(
        DecodedSource(train, config, image_format, augment=True),
        DecodedSource(test, config, image_format, augment=False),
    )


def _list_folder(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{folder} must hold a folder of images for each class ({reason}).") from error


class DecodedSource:
    """Images read from files on demand; see `adabatch.data.source.Source`.

    Args:
        folder: the files and their classes.
        config: image size, mean, std and number of workers.
        image_format: of the images that `iterate` yields.
        augment: random resized crops, mirrored if the config says so; otherwise the centre crop.
    """

    def __init__(self, folder: ImageFolder, config: DatasetConfig, image_format: ImageFormat, augment: bool) -> None:
        device = image_format.device
        self._device = device
        self._channels_last = image_format.channels_last
        self._augment = augment
        self._normalize = PixelNormalizer(config, 255.0, image_format)
        self._files = _ImageFiles(folder, _transform(config, augment))
        self._pieces: list[list[_Key]] = []
        workers = config.num_workers
        # One loader for all epochs: workers are started once and asked for different pieces in each epoch.
        self._loader: DataLoader[_Piece] = DataLoader(
            self._files,
            batch_sampler=_Pieces(self._pieces),
            collate_fn=_identity_collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # otherwise it would draw from the global one, which dropout uses
            multiprocessing_context=_worker_context() if workers else None,
            worker_init_fn=functools.partial(_start_worker, os.getpid()) if workers else None,
        )
        # If garbage-collected in a cycle with its queues, a loader cannot stop its workers, and waits ten seconds for
        # each. The finalizer keeps it alive beyond that cycle, after which it shuts down normally.
        weakref.finalize(self, lambda _: None, self._loader)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def num_samples(self) -> int:
        """The number of images."""
        return len(self._files)

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images and labels for each batch of indices; see `Source.iterate`."""
        pieces = [batch.split(_PIECE_SIZE) for batch in batches]
        self._pieces[:] = [self._keys(piece, seed, epoch) for parts in pieces for piece in parts]
        loaded = iter(self._loader)
        for parts in pieces:
            yield self._assemble([_checked(next(loaded)) for _ in parts])

    def _keys(self, indices: torch.Tensor, seed: int, epoch: int) -> list[_Key]:
        if not self._augment:
            return [(index, 0) for index in indices.tolist()]
        return [(index, derived_seed("augmentation", seed, epoch, index)) for index in indices.tolist()]

    def _assemble(self, pieces: list[_Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one batch on the device; copies overlap with the device's computation."""
        if self._stream is None:
            return self._join(pieces)
        with torch.cuda.stream(self._stream):
            images, labels = self._join(pieces)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._stream)
        images.record_stream(computing)
        labels.record_stream(computing)
        return images, labels

    def _join(self, pieces: list[_Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.cat([images.to(self._device, non_blocking=True) for images, _ in pieces])
        labels = torch.cat([labels.to(self._device, non_blocking=True) for _, labels in pieces])
        if not self._channels_last:
            pixels = pixels.permute(0, 3, 1, 2).contiguous()
        return self._normalize(pixels), labels


class _Pieces:
    """A batch sampler over a list that changes between epochs."""

    def __init__(self, pieces: list[list[_Key]]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[list[_Key]]:
        return iter(list(self._pieces))

    def __len__(self) -> int:
        return len(self._pieces)


class _ImageFiles(TorchDataset[_Piece]):
    """The files of a split. Paths are stored in one array, a tenth of the size of a list of strings."""

    def __init__(self, folder: ImageFolder, transform: v2.Transform) -> None:
        self._paths = np.array([path.encode() for path, _ in folder.samples])
        self._labels = torch.tensor(folder.targets)
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitems__(self, keys: Sequence[_Key]) -> _Piece | str:
        """Return pixels, uint8 of shape (n, H, W, C), and labels, or an error message about a file.

        The message is returned, not raised, because raising in a worker would bury it in a traceback.
        """
        try:
            images = [self._read(index, seed) for index, seed in keys]
        except DataError as error:
            return str(error)
        return torch.stack(images), self._labels[[index for index, _ in keys]]

    def _read(self, index: int, seed: int) -> torch.Tensor:
        path = self._paths[index].decode()
        try:
            with Image.open(path) as image:
                pixels = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} cannot be read as an image; it is truncated or corrupt.") from error
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return torch.from_numpy(np.array(self._transform(pixels)))


def _transform(config: DatasetConfig, augment: bool) -> v2.Transform:
    size = config.image_size
    if not augment:
        return v2.Compose([v2.Resize(round(size * _TEST_SCALE)), v2.CenterCrop(size)])
    flip = [v2.RandomHorizontalFlip()] if config.horizontal_flip else []
    return v2.Compose([v2.RandomResizedCrop(size), *flip])


def _identity_collate(piece: Any) -> Any:
    return piece


def _checked(piece: _Piece | str) -> _Piece:
    if isinstance(piece, str):
        raise DataError(piece)
    return piece


def _worker_context() -> BaseContext:
    """Return a multiprocessing context that does not fork this process, which has threads and maybe a GPU."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start_worker(trainer_pid: int, worker: int) -> None:
    _ignore_stop_signals()
    threading.Thread(target=_exit_after, args=(trainer_pid,), daemon=True).start()


def _exit_after(trainer_pid: int) -> None:
    """End this worker once the trainer is gone.

    The worker's parent, the fork server, would not: it lives as long as its workers.
    """
    while True:
        try:
            os.kill(trainer_pid, 0)
        except ProcessLookupError:
            os._exit(EXIT_FAILED)
        time.sleep(_WATCH_SECONDS)


def _ignore_stop_signals() -> None:
    """Ignore the signals that a scheduler sends to all processes: the trainer needs its workers until it has saved.

    A second SIGTERM ends the worker; the loader sends it to workers that do not exit on their own.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
