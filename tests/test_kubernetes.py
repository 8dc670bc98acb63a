import re

import pytest
import yaml

from app.access.keys import read_keys
from app.settings import Settings
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "kubernetes"
EXAMPLE = "keys.example.yaml"
APPLIED = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
RESOURCES = [part for name in APPLIED for part in yaml.safe_load_all((FOLDER / name).read_text())]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
GUIDE = (REPOSITORY / "docs" / "deploy.md").read_text()


def of_kind(kind):
    return {part["metadata"]["name"]: part["spec"] for part in RESOURCES if part["kind"] == kind}


def component(labels):
    assert labels["app.kubernetes.io/name"] == "marrowscope"
    return labels["app.kubernetes.io/component"]


DEPLOYMENTS = {component(spec["selector"]["matchLabels"]): spec for spec in of_kind("Deployment").values()}
PODS = {name: spec["template"]["spec"] for name, spec in DEPLOYMENTS.items()}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}

each_pod = pytest.mark.parametrize("name", PODS)


def mounts(name):
    """Path → (what the volume is made of, whether it is read-only), of a pod."""
    volumes = {volume["name"]: volume for volume in PODS[name]["volumes"]}
    return {
        mount["mountPath"]: (volumes[mount["name"]], mount.get("readOnly", False))
        for mount in CONTAINERS[name]["volumeMounts"]
    }


def let_in(name):
    """Components that a policy lets reach a pod → ports; None where none is about it."""
    found = None
    for policy in of_kind("NetworkPolicy").values():
        wanted = policy["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
        if wanted == name and "Ingress" in policy["policyTypes"]:
            found = found or {}
            for rule in policy["ingress"]:
                for peer in rule["from"]:
                    assert set(peer) == {"podSelector"}
                    found[component(peer["podSelector"]["matchLabels"])] = {port["port"] for port in rule["ports"]}
    return found


def test_everything_but_the_example_is_applied():
    assert {path.name for path in FOLDER.iterdir()} == {*APPLIED, "kustomization.yaml", EXAMPLE}
    kinds = {part["kind"] for part in RESOURCES}
    assert kinds == {"Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy"}
    assert all("namespace" not in part["metadata"] for part in RESOURCES)
    assert set(PODS) == {"service", "scheduler", "worker"}


@each_pod
def test_every_pod_is_confined_and_bounded(name):
    (container,) = PODS[name]["containers"]
    of_pod, of_container = PODS[name]["securityContext"], container["securityContext"]
    user = int(re.search(r"useradd --uid (\d+)", DOCKERFILE)[1])
    assert of_pod["runAsNonRoot"] is True
    assert {of_pod["runAsUser"], of_pod["runAsGroup"], of_pod["fsGroup"]} == {user}
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container["readOnlyRootFilesystem"] is True
    assert of_container["allowPrivilegeEscalation"] is False
    assert of_container["capabilities"] == {"drop": ["ALL"]}
    assert PODS[name]["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "livenessProbe" in container


@each_pod
def test_no_address_of_a_service_is_taken_for_a_setting(name):
    # Kubernetes would set MARROWSCOPE_PORT=tcp://… for the Service of that name.
    assert PODS[name]["enableServiceLinks"] is False


@each_pod
def test_a_pod_can_write_to_its_own_tmp_which_is_bounded(name):
    volume, read_only = mounts(name)["/tmp"]
    assert not read_only
    assert volume["emptyDir"]["sizeLimit"]


@each_pod
def test_every_claim_that_is_mounted_is_made(name):
    claims = of_kind("PersistentVolumeClaim")
    for volume in PODS[name]["volumes"]:
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_workers_find_slides_and_batches_where_the_service_has_them():
    settings = {entry["name"]: entry["value"] for entry in CONTAINERS["service"]["env"]}
    at_service, at_worker = mounts("service"), mounts("worker")
    for setting, read_only in (("MARROWSCOPE_SLIDES_DIR", True), ("MARROWSCOPE_BATCHES_DIR", False)):
        folder = settings[setting]
        assert at_service[folder] == at_worker[folder]
        assert at_service[folder][1] is read_only


def test_what_one_pod_alone_may_write_is_on_no_disk_that_is_shared():
    settings = {entry["name"]: entry["value"] for entry in CONTAINERS["service"]["env"]}
    assert {f"MARROWSCOPE_{field}".upper() for field in Settings.model_fields} >= settings.keys()
    database = settings["MARROWSCOPE_DATABASE_URL"].removeprefix("sqlite:///")
    for file in (database, settings["MARROWSCOPE_AUDIT_LOG"]):
        claim = mounts("service")[file.rsplit("/", 1)[0]][0]["persistentVolumeClaim"]["claimName"]
        assert of_kind("PersistentVolumeClaim")[claim]["accessModes"] == ["ReadWriteOnce"]
    assert DEPLOYMENTS["service"]["replicas"] == 1
    assert DEPLOYMENTS["service"]["strategy"] == {"type": "Recreate"}


def test_the_service_asks_for_keys_that_a_secret_holds(tmp_path):
    settings = {entry["name"]: entry["value"] for entry in CONTAINERS["service"]["env"]}
    assert "MARROWSCOPE_WITHOUT_KEYS" not in settings
    folder, name = settings["MARROWSCOPE_KEYS_FILE"].rsplit("/", 1)
    secret = yaml.safe_load((FOLDER / EXAMPLE).read_text())
    assert mounts("service")[folder][0]["secret"]["secretName"] == secret["metadata"]["name"]
    (tmp_path / name).write_text(secret["stringData"][name])
    (key,) = read_keys(tmp_path / name)
    assert set(key.sha256) == {"0"}


def test_nobody_else_reaches_those_who_run_any_code_they_are_sent():
    assert let_in("scheduler") == {"service": {8786}, "worker": {8786}}
    of_worker = {
        int(port) for port in re.findall(r"--(?:worker|nanny)-port=(\d+)", " ".join(CONTAINERS["worker"]["command"]))
    }
    assert let_in("worker") == dict.fromkeys(("scheduler", "service", "worker"), of_worker)


def test_nothing_leads_out_but_the_names_of_hosts():
    (policy,) = [policy for policy in of_kind("NetworkPolicy").values() if policy["policyTypes"] == ["Egress"]]
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "marrowscope"}}
    inside, names = policy["egress"]
    assert inside == {"to": [{"podSelector": policy["podSelector"]}]}
    assert {port["port"] for port in names["ports"]} == {53}


def test_the_scheduler_is_where_all_look_for_it():
    address = "tcp://marrowscope-scheduler:8786"
    spec = of_kind("Service")["marrowscope-scheduler"]
    (port,) = spec["ports"]
    names = {entry["name"]: entry["containerPort"] for entry in CONTAINERS["scheduler"]["ports"]}
    assert (component(spec["selector"]), port["port"], names[port["targetPort"]]) == ("scheduler", 8786, 8786)
    assert address in CONTAINERS["worker"]["command"]
    assert address in {entry["value"] for entry in CONTAINERS["service"]["env"]}
    assert DEPLOYMENTS["scheduler"]["replicas"] == 1


@each_pod
def test_labels_of_a_pod_are_those_that_are_looked_for(name):
    assert DEPLOYMENTS[name]["template"]["metadata"]["labels"] == DEPLOYMENTS[name]["selector"]["matchLabels"]


def test_a_worker_stays_within_the_memory_of_its_container():
    (limit,) = re.findall(r"--memory-limit=(\d+)GB", " ".join(CONTAINERS["worker"]["command"]))
    (allowed,) = re.findall(r"(\d+)Gi", CONTAINERS["worker"]["resources"]["limits"]["memory"])
    assert int(limit) * 1e9 < int(allowed) * 2**30


def test_the_guide_names_what_there_is():
    assert set(re.findall(r"\bdeployment/([\w-]+)", GUIDE)) == {"marrowscope", "marrowscope-worker"}
    assert {"marrowscope", "marrowscope-worker"} <= set(of_kind("Deployment"))
    assert set(re.findall(r"\bservice/([\w-]+)", GUIDE)) <= set(of_kind("Service"))
    (address,) = set(re.findall(r"tcp://marrowscope-[\w:-]+", GUIDE))
    assert address in CONTAINERS["worker"]["command"]
