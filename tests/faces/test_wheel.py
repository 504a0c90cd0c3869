"""The wheel carries everything: built, installed in an empty environment, run in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short path: a unix socket lies in it."""
    path = Path(tempfile.mkdtemp(prefix="w-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_the_wheel_carries_migrations_and_types(wheel: Path) -> None:
    """Without its migrations an installed program could not make a store."""
    names = zipfile.ZipFile(wheel).namelist()
    prefix = "orchestrator/_migrations/"
    shipped = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    written = {str(file.relative_to(ROOT / "migrations")) for file in (ROOT / "migrations").rglob("*.sql")}
    assert shipped == written
    assert any(name.startswith("postgres/") for name in written)
    assert "orchestrator/py.typed" in names
    assert any(name.startswith("orchestrator/store/sql/") for name in names)
    pages = Path("orchestrator/http_api/dashboard")
    drawn = {
        str(file.relative_to(ROOT)) for file in (ROOT / pages).rglob("*.*") if file.suffix in {".html", ".js", ".css"}
    }
    assert drawn
    assert drawn <= set(names)


def test_the_installed_program_runs_the_demo_in_an_empty_folder(wheel: Path, folder: Path) -> None:
    """What a user of the package gets: no checkout, no configuration, the main job works."""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # Dependencies come from the environment of the tests (no network); its own .pth files, and with them this checkout,
    # are not read from there.
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [str(venv / "bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    empty = folder / "empty"
    empty.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    where = subprocess.run(
        [str(venv / "bin/python"), "-c", "import orchestrator; print(orchestrator.__file__)"],
        cwd=empty, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(venv))
    shutil.copy(ROOT / "examples/reviews.jsonl", empty)
    command = [str(venv / "bin/orchestrator"), "run", "reviews.jsonl", "--sandbox", "-q"]
    done = subprocess.run(command, cwd=empty, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in next(empty.glob("*.results.jsonl")).read_text().splitlines()]
    assert len(lines) == 200
    assert all(line["result"]["type"] == "succeeded" for line in lines)
