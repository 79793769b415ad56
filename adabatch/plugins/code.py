"""Where the user's own code comes from: files, hash and commit; and copies of it that no later edit reaches."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType

from adabatch.errors import ConfigError
from adabatch.files import SOURCE_DIR, write_bytes_atomic
from adabatch.git import git

#: Names the folder with the code frozen at a submission, for the job that was submitted with it.
CODE_VARIABLE = "ADABATCH_CODE"
_NUM_DIGITS = 12
_OWN_PACKAGES = ("adabatch", "launch", "analysis")


@dataclass(frozen=True)
class OwnCode:
    """The code of a plug-in.

    Attributes:
        identity: equal for equal code: ``sha256:...`` of its files, or ``name==version`` of an installed package.
        files: by path relative to the folder that it is imported from; empty for an installed package.
        git_sha: the commit of the repository that tracks the file; None if there is none.
        git_dirty: whether any of the files differs from that commit.
    """

    identity: str
    files: dict[str, Path]
    git_sha: str | None = None
    git_dirty: bool | None = None


def code_of(module: ModuleType) -> OwnCode:
    """Return the code of a module: all files of its top-level module or package."""
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None)
    if file is None or is_installed(Path(file)):
        return OwnCode(installed_version(top), {})
    root = Path(file).resolve()
    for _ in module.__name__.split(".")[1:] + (["__init__"] if root.stem == "__init__" else []):
        root = root.parent
    files = {path.relative_to(root.parent).as_posix(): path for path in _python_files(root)}
    git_sha, git_dirty = _commit(root.parent, files.values())
    return OwnCode(f"sha256:{_digest(files)}", files, git_sha, git_dirty)


def _python_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*.py") if path.is_file())


def _digest(files: Mapping[str, Path | bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        content = _content(files[name])
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:_NUM_DIGITS]


def installed_version(top: str) -> str:
    """Return the installed distribution that has a top-level module, as ``name==version``."""
    for distribution in packages_distributions().get(top, []):
        try:
            return f"{distribution}=={version(distribution)}"
        except PackageNotFoundError:
            continue
    return f"{top}=={sys.version_info.major}.{sys.version_info.minor}" if top in sys.stdlib_module_names else top


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    folders += [site.getusersitepackages(), *(str(SOURCE_DIR / package) for package in _OWN_PACKAGES)]
    return tuple({str(Path(folder).resolve()) + os.sep for folder in folders})


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python, to an installed package or to adabatch."""
    return str(path.resolve()).startswith(_installed_folders())


def imported_files(folder: Path) -> dict[str, Path]:
    """Return the files of all modules imported so far from a folder, by relative path.

    Of a package all Python files are taken, since some may be imported later.
    """
    files: dict[str, Path] = {}
    for name, module in sorted(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        if name == "__main__" or not (file.is_absolute() and file.is_file()) or is_installed(file):
            continue
        if file.resolve().is_relative_to(folder.resolve()):
            files |= code_of(module).files
    return files


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def files_below(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by relative path, without what Python compiled from them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path for path in paths if path.suffix != ".pyc"}


def freeze(files: Mapping[str, Path | bytes], folder: Path) -> Path:
    """Copy files into ``folder/HASH``; equal files share one copy, and one that was edited is put right.

    Args:
        files: the files, or their contents, by relative path.

    Returns:
        that folder.
    """
    target = folder / _digest(files)
    if target.is_symlink():  # what it leads to is no copy
        target.unlink()
    for name, source in files.items():
        content = _content(source)
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(target / name, content, durable=False)  # what is lost is found by the hash
    for name in files_below(target).keys() - files.keys():
        (target / name).unlink()
    return target


def is_hash(name: str) -> bool:
    """Return whether a folder's name is that of a copy that `freeze` made."""
    return re.fullmatch(rf"[0-9a-f]{{{_NUM_DIGITS}}}", name) is not None


@functools.cache
def frozen_folder(folder: Path) -> Path:
    """Return a folder that `freeze` made, after checking that its files still have the hash in its name.

    Raises:
        ConfigError: if they do not.
    """
    files = files_below(folder) if folder.is_dir() else {}
    found = _digest(files) if files else None
    if found != folder.name or not is_hash(folder.name):
        raise ConfigError(
            f"{CODE_VARIABLE} is {folder}; it must be the code frozen at the submission, whose hash is its name, "
            f"but its files have the hash {found}."
        )
    return folder


def _commit(folder: Path, files: Iterable[Path]) -> tuple[str | None, bool | None]:
    """Return the commit of the repository that tracks files, and whether they differ from it; None if none does."""
    names = [str(path) for path in files]
    tracked = git(folder, "ls-files", "--", *names)
    sha = git(folder, "rev-parse", "HEAD") if tracked else None
    if sha is None:
        return None, None
    is_dirty = len((tracked or "").splitlines()) < len(names) or git(folder, "status", "--porcelain", "--", *names)
    return sha, bool(is_dirty)
