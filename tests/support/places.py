"""Places that are hard to work in: a small disk of its own, and a folder that nobody may write to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own of *size* (such as "4m"). Skips the test where none may be mounted."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount(8) here")
    folder = Path(tempfile.mkdtemp(prefix="d-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            pytest.skip("only root may mount a disk for the test")
        yield folder
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def fill_up(folder: Path) -> Path:
    """Use up all space of the disk of *folder*; gives the file to remove."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


@contextmanager
def closed_folder() -> Iterator[Path]:
    """A folder that this process may fill before `only_reading`."""
    folder = Path(tempfile.mkdtemp(prefix="f-"))
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


@contextmanager
def only_reading(folder: Path) -> Iterator[None]:
    """Within it nothing can be written in *folder*, whose files everybody may read: also root is nobody there."""
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
