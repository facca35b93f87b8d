"""The manifests: valid, hardened, and in agreement with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import dobby_dagster
from dobby_dagster.domain.settings import MonitorSettings
from dobby_dagster_tests.helpers.deployment import OVERLAYS, ROOT, containers, objects, pods, rendered, run, values

MANY = ROOT / "deploy" / "kubernetes" / "overlays" / "many"
# The monitor's routes, and those of Dagster's web server.
PATHS = {"/health", "/ready", "/server_info"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_object_is_valid(overlay: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(rendered(overlay))
    run("kubernetes-validate", "--strict", "--kubernetes-version", "1.31", file)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_has_a_privilege(overlay: str) -> None:
    for name, pod in pods(overlay):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["enableServiceLinks"] is False, f"{name}: a service `dobby` would set DOBBY_SERVICE_HOST"
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_service_is_probed_where_the_code_answers(overlay: str) -> None:
    for name, pod in pods(overlay):
        for container in pod["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            probes = [container[each] for each in container if each.endswith("Probe")]
            assert probes or pod.get("restartPolicy") == "OnFailure", name
            for probe in probes:
                if "httpGet" in probe:
                    assert probe["httpGet"]["path"] in PATHS, name
                    assert probe["httpGet"]["port"] in ports, name
                    # A part that answers late is reported by the monitor itself.
                    limit = MonitorSettings().limit_seconds
                    assert probe["httpGet"]["path"] == "/server_info" or probe.get("timeoutSeconds", 1) > limit, name
            assert ports.get("monitor", MonitorSettings().port) == MonitorSettings().port
            assert ports.get("ui", 3000) == 3000


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_select_pods_and_ports_that_exist(overlay: str) -> None:
    made = objects(overlay)
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in made if "template" in each.get("spec", {})]
    named = {port["name"] for _, pod in pods(overlay) for one in pod["containers"] for port in one.get("ports", [])}
    for service in (each for each in made if each["kind"] == "Service"):
        assert any(service["spec"]["selector"].items() <= found.items() for found in labels), service
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_mounts_exists(overlay: str) -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in objects(overlay)}
    for name, pod in pods(overlay):
        for container in containers(pod):
            for source in container.get("envFrom", []):
                assert "secretRef" in source or ("ConfigMap", source["configMapRef"]["name"]) in there, name
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_of_this_version_and_hold_no_secret(overlay: str) -> None:
    images = {one["image"] for _, pod in pods(overlay) for one in containers(pod)}
    assert images <= {f"dobby:{dobby_dagster.__version__}", "cozo:0.7.6"}
    assert not [each for each in objects(overlay) if each["kind"] == "Secret"]


def _without_launcher(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return {name: value for name, value in found.items() if name not in ("run_launcher", "compute_logs", "concurrency")}


def test_the_instance_of_many_pods_is_the_documented_one_with_another_launcher() -> None:
    documented = (ROOT / "deploy" / "dagster-postgres.yaml").read_text()
    assert _without_launcher((MANY / "dagster.yaml").read_text()) == _without_launcher(documented)


def test_a_run_is_a_pod_with_the_same_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is built by Dagster's own launcher, with no cluster."""
    pytest.importorskip("dagster_k8s", reason="the extra `kubernetes` is not installed")
    import kubernetes
    from dagster._config import process_config, resolve_to_config_type
    from dagster._core.storage.dagster_run import DagsterRun
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job

    config = yaml.safe_load((MANY / "dagster.yaml").read_text())["run_launcher"]["config"]
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
    assert checked.success, checked.errors
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    launcher = K8sRunLauncher.from_config_value(None, checked.value)  # type: ignore[arg-type]
    context = K8sContainerContext.create_for_run(DagsterRun("summarize_batches"), launcher, include_run_tags=True)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config("dobby", launcher),
        ["dagster", "api", "execute_run"],
        "run",
        user_defined_k8s_config=context.run_k8s_config,
    )
    made = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(made))
    run("kubernetes-validate", "--strict", "--kubernetes-version", "1.31", file)
    pod = made["spec"]["template"]["spec"]
    _, code = next(each for each in pods("many") if each[0] == "code")
    assert pod["securityContext"].items() <= code["securityContext"].items()
    assert pod["containers"][0]["securityContext"] == code["containers"][0]["securityContext"]
    assert pod["containers"][0]["envFrom"] == code["containers"][0]["envFrom"]
    assert pod["serviceAccountName"] == "dobby"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


def test_the_namespace_of_runs_is_that_of_the_services() -> None:
    kustomization = yaml.safe_load((MANY / "kustomization.yaml").read_text())
    instance = yaml.safe_load((MANY / "dagster.yaml").read_text())
    assert instance["run_launcher"]["config"]["job_namespace"] == kustomization["namespace"]


def test_the_values_of_the_chart_are_of_this_version() -> None:
    text = (ROOT / "deploy" / "helm" / "values-dagster.yaml").read_text()
    chart = yaml.safe_load(text)
    tags = {each["tag"] for each in _images(chart)}
    assert tags == {dobby_dagster.__version__}
    deployment = chart["dagster-user-deployments"]["deployments"][0]
    assert "dobby_dagster.definitions" in deployment["dagsterApiGrpcArgs"]
    pinned = re.search(r"^dagster==(\S+)", (ROOT / "requirements" / "container.lock").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"--version {pinned[1]}" in text
    assert "dobby" in set(values(chart))


def _images(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, dict):
        own = [given] if "repository" in given else []
        return own + [image for value in given.values() for image in _images(value)]
    return [image for value in given for image in _images(value)] if isinstance(given, list) else []
