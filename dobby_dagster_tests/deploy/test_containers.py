"""Containerfile and compose.yaml: valid, hardened, and in agreement with the code."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

import dobby_dagster
from dobby_dagster.domain.settings import MonitorSettings, Settings
from dobby_dagster.domain.settings_loader import NOT_SETTINGS, WELL_KNOWN, setting_names
from dobby_dagster_tests.helpers.command import COMMANDS
from dobby_dagster_tests.helpers.deployment import OVERLAYS, ROOT, compose, containers, pods, rendered, run, tool

CONTAINERFILE = (ROOT / "Containerfile").read_text()
SETTINGS = {f"DOBBY_{name.replace('.', '_').upper()}" for name in setting_names()} | set(WELL_KNOWN) | NOT_SETTINGS
PORTS = {3000, MonitorSettings().port, 4000}


@pytest.mark.parametrize("file", ["Containerfile", "deploy/cozo/Containerfile"])
def test_hadolint_finds_nothing(file: str) -> None:
    run("hadolint", file)


def test_each_variable_in_the_files_is_a_setting() -> None:
    files = [ROOT / "Containerfile", ROOT / "compose.yaml", *(ROOT / "deploy").rglob("*.yaml")]
    named = {(file.name, name) for file in files for name in re.findall(r"\bDOBBY_[A-Z_]+\b", file.read_text())}
    assert {(file, name) for file, name in named if name not in SETTINGS} == set()


def test_what_is_copied_is_in_the_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert f"!{source.split('/')[0]}" in ignored, source


def test_the_image_is_of_this_version_and_has_the_ports() -> None:
    assert f"ARG VERSION={dobby_dagster.__version__}\n" in CONTAINERFILE
    assert set(map(int, re.findall(r"^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE)[0].split())) == PORTS
    assert f"127.0.0.1:{MonitorSettings().port}/health" in CONTAINERFILE
    assert "USER 10001:10001" in CONTAINERFILE


def test_the_base_images_of_all_stages_are_one_argument() -> None:
    assert set(re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)) == {"${BASE}", "build"}


def test_compose_is_valid() -> None:
    specification = pytest.importorskip("compose_spec", reason="the extra `deploy` is not installed")
    # It knows no variables.
    text = re.sub(r"\$\{\w+(:-|:\?)([^}]*)\}", lambda found: found[2], (ROOT / "compose.yaml").read_text())
    specification.PyOptions(apply_merge=True).from_yaml(text).validate()


def test_docker_reads_compose() -> None:
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no plugin `compose`")
    environment = {"POSTGRES_PASSWORD": "p", "MONITOR_TOKEN": "t"}
    subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, env=environment, check=True, timeout=60)


def test_each_file_that_compose_mounts_exists() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in compose()["volumes"], volume


def test_no_service_of_compose_has_a_privilege_or_is_reached_from_outside() -> None:
    for name, service in compose()["services"].items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if "Containerfile" in str(service.get("build", "")) or service["image"].startswith("${IMAGE"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name


def _commands() -> list[list[Any]]:
    given = [service["command"] for service in compose()["services"].values() if "command" in service]
    for overlay in OVERLAYS:
        given += [
            one["args"] for _, pod in pods(overlay) for one in containers(pod) if one["image"].startswith("dobby")
        ]
    return given


def test_each_command_of_dobby_exists() -> None:
    named = [command for command in _commands() if command[0] == "dobby"]
    assert named
    for _, name, *options in named:
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known, name


def test_services_find_each_other() -> None:
    services = compose()["services"]
    workspace = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert workspace["host"] in services
    assert str(workspace["port"]) in services["code"]["command"]
    scraped = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": [f"monitor:{MonitorSettings().port}"]}]
    source = yaml.safe_load((ROOT / "deploy" / "grafana" / "provisioning" / "datasource.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_the_model_is_named_and_the_default() -> None:
    """Dagster's own services do not read what the database remembers."""
    default = Settings().model.path
    settings = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "base" / "settings.yaml").read_text())
    assert settings["data"]["MODEL_PATH"] == default
    assert all(
        service["environment"]["MODEL_PATH"] == default
        for service in compose()["services"].values()
        if "DATABASE_URL" in service.get("environment", {})
    )


def test_prometheus_reads_its_configuration() -> None:
    run("promtool", "check", "config", "--syntax-only", "deploy/compose/prometheus.yml")


def test_each_overlay_is_rendered() -> None:
    assert all(rendered(overlay) for overlay in OVERLAYS)
