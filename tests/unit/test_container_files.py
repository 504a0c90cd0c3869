"""The container's files: what the image is built of is there, and it runs without rights."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from orchestrator.config import load_settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BUILD, FINAL = DOCKERFILE.split("\nFROM ")[1:]


def instructions(stage: str, word: str) -> list[str]:
    joined = stage.replace("\\\n", " ")
    return re.findall(rf"^{word} (.+)$", joined, re.MULTILINE)


def test_the_image_is_built_of_what_the_context_has() -> None:
    """Each file that is copied is in the tree, and is let through by .dockerignore; nothing else is."""
    copied = {name for line in instructions(BUILD, "COPY") for name in line.split()[:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {project["project"]["readme"], *project["project"]["license-files"], "migrations", "orchestrator"}
    assert needed <= copied


def test_the_image_runs_as_nobody_in_particular_with_its_state_in_a_volume() -> None:
    """A number above the system's own, no root, one place to write to, and a check of its health."""
    assert instructions(FINAL, "USER") == ["10001:10001"]
    assert instructions(FINAL, "VOLUME") == ["/data"]
    assert instructions(FINAL, "ENTRYPOINT") == ['["orchestrator"]']
    assert instructions(FINAL, "CMD") == ['["serve"]']
    assert "orchestrator" in instructions(FINAL, "HEALTHCHECK")[0]
    assert "health" in instructions(FINAL, "HEALTHCHECK")[0]


def test_what_the_image_sets_is_what_the_program_reads(tmp_path: Path) -> None:
    """The store and the socket lie in the volume; secrets come as files."""
    pairs = [pair.split("=", 1) for line in instructions(FINAL, "ENV") for pair in line.split()]
    env = {name: value for name, value in pairs if name != "PATH"}
    compose = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    env |= dict(re.findall(r'^ +(ORCHESTRATOR_\w+): "?([^"\n]+)"?$', compose, re.MULTILINE))
    settings = load_settings(flags={}, env=env, cwd=tmp_path)
    assert settings.database.path == Path("/data/orchestrator.db")
    assert env["XDG_RUNTIME_DIR"] == "/data"
    assert settings.api.key_file == Path("/run/secrets/anthropic_key")
    assert settings.server.token_file == Path("/run/secrets/orchestrator_token")
    assert settings.server.listen == "0.0.0.0:8787"
