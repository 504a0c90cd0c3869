"""An environment of its own for each peer, made when it is first needed, kept in a folder that git ignores."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.table import Peer

CACHE: Final = Path(__file__).resolve().parent.parent / ".peers"
_PIP: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class NotInstalled(RuntimeError):
    """pip could not bring a peer; its words are in the log beside the environment."""


def interpreter(peer: Peer, cache: Path = CACHE) -> Path:
    """The Python that runs *peer*'s driver. Raises NotInstalled."""
    if not peer.pins:
        return Path(sys.executable)
    folder = cache / peer.name
    python = folder / "bin" / "python"
    stamp = folder / "pins.txt"
    wanted = "\n".join((*peer.pins, "", *peer.forced))
    if not stamp.exists() or stamp.read_text() != wanted:
        _install(peer, folder, python)
        stamp.write_text(wanted)
    return python


def _install(peer: Peer, folder: Path, python: Path) -> None:
    print(f"installing {' '.join(peer.pins + peer.forced)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    steps = [[sys.executable, "-m", "venv", str(folder)], [str(python), *_PIP, *peer.pins]]
    steps += [[str(python), *_PIP, "--no-deps", *peer.forced]] if peer.forced else []
    with log.open("wb") as out:
        for step in steps:
            if subprocess.run(step, stdout=out, stderr=out, check=False).returncode != 0:
                raise NotInstalled(f"could not be installed (see {log.name} beside its environment)")
