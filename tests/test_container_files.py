import re

import pytest
from ruamel.yaml import YAML

from app.api.adaptations import TILES_PER_TIME_LIMIT
from app.api.http.limits import MAX_ADAPTATION_TILES
from app.settings import Settings
from tests.conftest import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = YAML(typ="safe").load(REPOSITORY / "docker-compose.yml")
SERVICES = COMPOSE["services"]
PROXY = (REPOSITORY / "deploy" / "proxy" / "nginx.conf").read_text()
GUIDE = (REPOSITORY / "docs" / "deploy.md").read_text()

each_service = pytest.mark.parametrize("name", SERVICES)


@each_service
def test_every_service_is_confined_and_bounded(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["pids_limit"] and service["mem_limit"]
    assert service["stop_grace_period"] == "30s"
    assert service["restart"] == ("no" if name == "keys" else "unless-stopped")
    assert "privileged" not in service and "cap_add" not in service


@each_service
def test_only_this_machine_reaches_a_published_port(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@each_service
def test_an_image_of_others_has_a_version(name):
    image = SERVICES[name]["image"]
    assert image.startswith("marrowscope") or re.search(r":v?\d+\.\d+\.\d+", image)


@each_service
def test_what_is_mounted_from_the_repository_is_there_and_stays_as_it_is(name):
    for volume in SERVICES[name].get("volumes", []):
        source, *_, mode = volume.split(":")
        if source.startswith("."):
            assert (REPOSITORY / source).is_dir()
            assert mode == "ro"
        elif source.startswith("$"):  # a folder of the user's own
            assert mode == "ro"
        else:
            assert source in COMPOSE["volumes"]


def test_replicas_ask_for_keys_and_keep_an_audit_log_on_volumes_that_their_user_owns():
    replica = SERVICES["replica"]
    assert "MARROWSCOPE_WITHOUT_KEYS" not in replica["environment"]
    assert "ports" not in replica
    folders = dict(volume.split(":")[:2] for volume in replica["volumes"])
    made = re.search(r"install -d -o marrowscope .*", DOCKERFILE)[0].split()
    for setting, volume in (("MARROWSCOPE_KEYS_FILE", "keys"), ("MARROWSCOPE_AUDIT_LOG", "audit")):
        assert replica["environment"][setting].startswith(folders[volume] + "/")
        assert folders[volume] in made


def test_keys_are_made_where_replicas_read_them():
    made, read = (SERVICES[name]["environment"]["MARROWSCOPE_KEYS_FILE"] for name in ("keys", "replica"))
    assert made == read
    assert "keys:/var/lib/marrowscope/keys" in SERVICES["keys"]["volumes"]
    assert "keys:/var/lib/marrowscope/keys:ro" in SERVICES["replica"]["volumes"]


def test_nobody_but_the_service_shares_a_network_with_those_who_run_any_code_they_are_sent():
    shares = {name for name, service in SERVICES.items() if "cluster" in service.get("networks", [])}
    assert shares == {"scheduler", "worker", "marrowscope-cluster"}
    assert COMPOSE["networks"]["cluster"] == {"internal": True}
    for name in ("scheduler", "worker"):
        assert SERVICES[name]["networks"] == ["cluster"]
        assert "ports" not in SERVICES[name]


def test_workers_find_slides_and_batches_where_the_service_has_them():
    service = SERVICES["marrowscope-cluster"]
    assert SERVICES["worker"]["volumes"][:2] == service["volumes"][:2]
    folders = [volume.removesuffix(":ro").rsplit(":", 1)[1] for volume in service["volumes"]]
    settings = {**dict(re.findall(r"(MARROWSCOPE_\w+)=(\S+)", DOCKERFILE)), **service["environment"]}
    assert [
        settings[f"MARROWSCOPE_{name}_DIR"] for name in ("SLIDES", "BATCHES", "REVIEWS", "TAUGHT", "DRIFT")
    ] == folders
    made = " ".join(re.findall(r"install -d .*", DOCKERFILE)).split()
    assert set(folders) <= set(made)
    assert settings["MARROWSCOPE_SCHEDULER"] in SERVICES["worker"]["command"]


def test_every_service_of_a_laboratory_keeps_named_cells_taught_bundles_and_daily_summaries():
    made = re.search(r"install -d -o marrowscope .*", DOCKERFILE)[0].split()
    of_image = dict(re.findall(r"(MARROWSCOPE_\w+)=(\S+)", DOCKERFILE))
    for name in ("marrowscope", "marrowscope-gpu", "marrowscope-cluster", "replica"):
        settings = {**of_image, **SERVICES[name]["environment"]}
        for what in ("reviews", "taught", "drift"):
            folder = settings[f"MARROWSCOPE_{what.upper()}_DIR"]
            assert f"{what}:{folder}" in SERVICES[name]["volumes"]
            assert folder in made
    assert f"taught:{of_image['MARROWSCOPE_TAUGHT_DIR']}:ro" in SERVICES["worker"]["volumes"]


def test_no_volume_hides_the_bundles_of_the_image():
    (folder,) = re.findall(r"MARROWSCOPE_BUNDLES_DIR=(\S+)", DOCKERFILE)
    mounted = {volume.split(":")[1] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert not any(folder == one or folder.startswith(f"{one}/") for one in mounted)


def test_a_worker_stays_within_the_memory_of_its_container():
    (limit,) = re.findall(r"--memory-limit=(\d+)GB", " ".join(SERVICES["worker"]["command"]))
    (allowed,) = re.findall(r"(\d+)g", SERVICES["worker"]["mem_limit"])
    (temporary,) = re.findall(r"size=(\d+)m", SERVICES["worker"]["tmpfs"][0])
    assert int(limit) * 1e9 + int(temporary) * 2**20 < int(allowed) * 2**30


def test_the_health_check_of_compose_is_that_of_the_image():
    probe = SERVICES["marrowscope"]["healthcheck"]["test"][-1]
    assert probe in DOCKERFILE
    assert SERVICES["replica"]["healthcheck"] == SERVICES["marrowscope"]["healthcheck"]


def test_what_the_image_copies_is_there_and_not_ignored():
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = " ".join(copied).replace("requirements/${REQUIREMENTS}.txt", "requirements").split()
    assert "app" in sources
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == set(sources)


def test_the_proxy_has_the_limits_of_the_service():
    settings = Settings.model_construct()
    megabytes = int(re.search(r"client_max_body_size (\d+)m;", PROXY)[1])
    assert megabytes * 1024**2 == settings.max_bytes
    assert f"{megabytes} MiB" in PROXY
    times = re.findall(r"proxy_read_timeout (\d+)s;", PROXY)
    assert int(times[0]) > settings.time_limit_s
    # Bundles are adapted to at most 50 tiles, in the time of one analysis for every five.
    bodies = re.findall(r"client_max_body_size (\d+)m;", PROXY)
    assert int(bodies[1]) * 1024**2 == MAX_ADAPTATION_TILES * settings.max_bytes
    assert int(times[1]) > settings.time_limit_s * MAX_ADAPTATION_TILES / TILES_PER_TIME_LIMIT
    assert "server replica:8000 resolve" in (REPOSITORY / "deploy" / "proxy" / "upstream.conf").read_text()


def test_the_guide_names_services_and_profiles_that_there_are():
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert set(re.findall(r"--profile ([\w-]+)", GUIDE)) <= profiles
    named = re.findall(r"docker compose .*?(?:exec -T|exec|run --rm|restart) ([a-z][\w-]*)", GUIDE)
    assert {"keys", "replica"} <= set(named) <= set(SERVICES)
