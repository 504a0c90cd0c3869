"""The container's files: what the image is built of is there, and it runs without rights."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.cli.group import COMMANDS
from orchestrator.config import Settings, load_settings
from orchestrator.http_api.api.service_routes import root as service_routes
from orchestrator.http_api.guard.access_rules import AccessRules, KnownToken

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BUILD, FINAL = DOCKERFILE.split("\nFROM ")[1:]
DEPLOY = ROOT / "deploy"
_YAML: Final[Any] = importlib.import_module("yaml")  # it has no types


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
    settings = settings_in(compose_file("compose.yaml")["services"]["orchestrator"]["environment"], tmp_path)
    assert settings.database.path == Path("/data/orchestrator.db")
    assert settings.database.url is None
    assert image_env()["XDG_RUNTIME_DIR"] == "/data"
    assert settings.api.key_file == Path("/run/secrets/anthropic_key")
    assert settings.server.token_file == Path("/run/secrets/orchestrator_token")
    assert settings.server.listen == "0.0.0.0:8787"


def image_env() -> dict[str, str]:
    pairs = [pair.split("=", 1) for line in instructions(FINAL, "ENV") for pair in line.split()]
    return {name: value for name, value in pairs if name != "PATH"}


def settings_in(env: Mapping[str, str], folder: Path) -> Settings:
    return load_settings(flags={}, env={**image_env(), **env}, cwd=folder)


def compose_file(name: str) -> Any:
    return _YAML.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_the_licences_of_the_extra_are_named_wherever_it_goes() -> None:
    """The image installs an LGPL package: NOTICE says so, and lies in the wheel, the source archive and the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for needed in project["project"]["optional-dependencies"]["postgres"]:
        package = re.split(r"[^a-z]", needed)[0]
        assert re.search(rf"^  {package}\b.* (LGPL-3.0-only|MIT|Apache-2.0) ", notice, re.MULTILINE), package
    assert "NOTICE" in project["project"]["license-files"]
    assert "/NOTICE" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert "'.[postgres]'" in BUILD
    for page in ("README.md", "ARCHITECTURE.md"):
        assert "NOTICE" in (ROOT / page).read_text(encoding="utf-8"), page


def test_a_fleet_under_compose_has_its_store_in_postgres_alone(tmp_path: Path) -> None:
    """Daemons begin when the database answers, share one token and one password, and keep nothing of their own."""
    found = compose_file("compose.postgres.yaml")
    daemon, database = found["services"]["orchestrator"], found["services"]["postgres"]
    settings = settings_in(daemon["environment"], tmp_path)
    assert settings.database.url == "postgresql://orch@postgres/orch"
    assert (database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]) == ("orch", "orch")
    assert settings.database.password_file == Path(database["environment"]["POSTGRES_PASSWORD_FILE"])
    named = {settings.api.key_file, settings.server.token_file, settings.database.password_file}
    assert named == {Path("/run/secrets", name) for name in daemon["secrets"]}
    assert set(found["secrets"]) >= {*daemon["secrets"], *database["secrets"]}
    assert daemon["deploy"]["replicas"] == 3
    assert daemon["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "pg_isready" in database["healthcheck"]["test"]
    assert "volumes" not in daemon
    assert "ports" not in daemon


def test_a_fleet_under_compose_has_the_rights_of_one_daemon() -> None:
    """What the single daemon's file takes away, the fleet's does not give back."""
    one, many = (compose_file(name)["services"]["orchestrator"] for name in ("compose.yaml", "compose.postgres.yaml"))
    for name in ("read_only", "cap_drop", "security_opt", "ulimits", "stop_grace_period"):
        assert many[name] == one[name], name


def test_the_balancer_leads_to_the_port_of_the_daemons(tmp_path: Path) -> None:
    """Callers ask for localhost:8787, which is passed on as it is: the daemons must take that name for their own."""
    services = compose_file("compose.postgres.yaml")["services"]
    settings = settings_in(services["orchestrator"]["environment"], tmp_path)
    mounted, place, _ = services["balancer"]["volumes"][0].split(":")
    text = (DEPLOY / mounted).read_text(encoding="utf-8")
    assert (place, services["balancer"]["ports"]) == ("/etc/caddy/Caddyfile", ["127.0.0.1:8787:8787"])
    assert "name orchestrator\n" in text
    assert "port 8787\n" in text
    rules = rules_for(settings.server.allowed_hosts)
    assert rules.judge("GET", "/readyz", [(b"host", b"localhost:8787")]) is None
    assert rules.base_url([(b"host", b"localhost:8787")], None) == "http://localhost:8787"


def rules_for(hosts: tuple[str, ...], *, token: bytes | None = None) -> AccessRules:
    tokens = [] if token is None else [KnownToken.default(token)]
    return AccessRules("0.0.0.0", 8787, allowed_hosts=hosts, tokens=tokens)  # noqa: S104 - in the container


@pytest.fixture
def deployment() -> Any:
    documents = _YAML.safe_load_all((DEPLOY / "kubernetes/orchestrator.yaml").read_text(encoding="utf-8"))
    return {each["kind"]: each for each in documents}


@pytest.fixture
def pod(deployment: Any) -> Any:
    return deployment["Deployment"]["spec"]["template"]["spec"]


def test_kubernetes_files_are_whole() -> None:
    """Every file of the folder can be read, and is what `apply -k` takes, or an example."""
    for path in (DEPLOY / "kubernetes").iterdir():
        assert all(each["kind"] for each in _YAML.safe_load_all(path.read_text(encoding="utf-8"))), path
    taken = compose_file("kubernetes/kustomization.yaml")["resources"]
    names = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert {name for name in names if ".example." not in name} == {"kustomization.yaml", *taken}


def test_one_pod_at_a_time_may_be_missing(deployment: Any) -> None:
    """Upgrades and drained nodes take one daemon after the other; the Service and the budget mean these pods."""
    spec = deployment["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 3
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert spec["selector"]["matchLabels"] == deployment["Service"]["spec"]["selector"] == labels
    budget = deployment["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 45


def test_a_pod_has_no_rights(pod: Any) -> None:
    """As in compose.yaml: the image's own user, a root that is read-only, no capability, nothing gained by exec."""
    outer, inner = pod["securityContext"], pod["containers"][0]["securityContext"]
    assert outer["runAsUser"] == outer["runAsGroup"] == outer["fsGroup"] == 10001
    assert outer["runAsNonRoot"] is True
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["allowPrivilegeEscalation"] is False
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_what_a_pod_is_told_is_what_the_program_reads(deployment: Any, pod: Any, tmp_path: Path) -> None:
    """Settings, and where its secrets are; callers come by the Service's name, which the daemon takes for its own."""
    told = {each["name"]: each.get("value", "pod-1") for each in pod["containers"][0]["env"]}
    settings = settings_in(told, tmp_path)
    assert settings.fleet.name == "pod-1"
    assert settings.server.listen == f"0.0.0.0:{pod['containers'][0]['ports'][0]['containerPort']}"
    mounts = {each["mountPath"]: each["name"] for each in pod["containers"][0]["volumeMounts"]}
    assert {"/data", "/tmp", "/run/secrets"} == set(mounts)  # noqa: S108 - the paths of the container
    volumes = {each["name"]: each for each in pod["volumes"]}
    sources = volumes[mounts["/run/secrets"]]["projected"]["sources"]
    given = {Path("/run/secrets", item["path"]) for source in sources for item in source["secret"]["items"]}
    assert given == {settings.api.key_file, settings.server.token_file, settings.database.password_file}
    service = deployment["Service"]
    rules = rules_for(settings.server.allowed_hosts)
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert rules.judge("GET", "/readyz", [(b"host", address.encode())]) is None


def test_the_secrets_of_a_pod_are_those_of_the_example(pod: Any) -> None:
    """Names and keys; the database's is the one that CloudNativePG makes for the cluster of the example."""
    text = (DEPLOY / "kubernetes/secret.example.yaml").read_text(encoding="utf-8")
    examples = {each["metadata"]["name"]: set(each["stringData"]) for each in _YAML.safe_load_all(text)}
    sources = next(each["projected"]["sources"] for each in pod["volumes"] if "projected" in each)
    used = {each["secret"]["name"]: {item["key"] for item in each["secret"]["items"]} for each in sources}
    assert used == examples
    cluster = compose_file("kubernetes/cloudnative-pg.example.yaml")
    assert f"{cluster['metadata']['name']}-app" in used
    assert cluster["spec"]["postgresql"]["synchronous"]["dataDurability"] == "required"
    urls = [each["value"] for each in pod["containers"][0]["env"] if each["name"].endswith("__URL")]
    made = cluster["spec"]["bootstrap"]["initdb"]
    assert urls == [f"postgresql://{made['owner']}@{cluster['metadata']['name']}-rw/{made['database']}"]


def probes(pod: Any) -> Iterator[Mapping[str, Any]]:
    return (value for name, value in pod["containers"][0].items() if name.endswith("Probe"))


def test_every_probe_asks_for_something_that_is_there(pod: Any) -> None:
    """A path that may be asked without a token and by address, or a command of the program."""
    rules = rules_for((), token=b"a digest")
    paths = [probe["httpGet"]["path"] for probe in probes(pod) if "httpGet" in probe]
    commands = [probe["exec"]["command"] for probe in probes(pod) if "exec" in probe]
    assert len(paths) + len(commands) == 3
    assert set(paths) <= {getattr(route, "path", None) for route in service_routes.routes}
    assert all(rules.judge("GET", path, [(b"host", b"10.0.0.7:8787")]) is None for path in paths)
    check = shlex.split(instructions(FINAL, "HEALTHCHECK")[0].partition("CMD ")[2].strip("[]").replace(",", " "))
    assert all(command == check for command in commands)
    assert {command[1] for command in commands} <= set(COMMANDS)
