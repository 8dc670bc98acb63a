"""The commands that the documentation shows exist, and take the options and values that it gives them."""

import importlib.util
import json
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import typer.main
from ruamel.yaml import YAML

from app.__main__ import cli as product
from reliability.__main__ import cli as reliability
from tests.conftest import REPOSITORY
from tests.docs.pages import PAGES, commands, each_page, name, read
from training.__main__ import cli as training

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))
OPENAPI = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))
COMPOSE = YAML(typ="safe").load(REPOSITORY / "docker-compose.yml")["services"]
PROGRAMS = {"app": product, "marrowscope": product, "training": training, "reliability": reliability}
NAMES = set(typer.main.get_command(product).commands)
OTHERS = {"/", "/docs", "/openapi.json"}
CURL_FLAGS = {"-O"}


def program_of(words):
    """The program that a command calls and the words after it; None for a command of another kind."""
    if (
        "keys" in words and words[words.index("keys") - 1] == "--rm"
    ):  # a service whose entry point is `marrowscope keys`
        return "marrowscope", words[words.index("keys") :]
    for at, word in enumerate(words):
        after = words[at + 1 :]
        if word == "-m" and after and Path(words[0]).name.startswith("python"):
            return after[0], after[1:]
        # In the middle of a command of docker or kubectl, it may be the name of an image or a service.
        is_called = at == 0 or "bin/" in word or words[at - 1] == "--" or (after and after[0] in NAMES)
        if Path(word).name == "marrowscope" and is_called:
            return "marrowscope", after
    return None


def leaf(cli, words):
    """The command that the words name, and the words after its name."""
    command = typer.main.get_command(cli)
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    return command, words


@each_page
def test_programs_take_what_they_are_given(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, is_whole in commands(page):
        if (found := program_of(words)) is None:
            continue
        program, rest = found
        assert importlib.util.find_spec(program), words
        if program not in PROGRAMS or not rest or rest[0].startswith("-"):
            continue
        command, rest = leaf(PROGRAMS[program], rest)
        if not is_whole:
            options = {option for param in command.params for option in [*param.opts, *param.secondary_opts]}
            given = {word for word in rest if word.startswith("-") and word != "-"}
            assert given <= {*options, "--help"}, words
        elif "--help" not in rest:
            for word in rest:
                if re.fullmatch(r"[\w.-]+\.(?:csv|geojson|json)", word):  # a file that has to be there
                    Path(word).touch()
            command.make_context(command.name, list(rest))


@each_page
def test_make_targets_exist(page):
    for words, _ in commands(page):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= TARGETS, words
    assert set(re.findall(r"`make ([a-z][a-z-]*)", read(page))) <= TARGETS


@each_page
def test_requests_fit_the_description_of_the_service(page):
    for words, _ in commands(page):
        if words[0] != "curl" or len(words) == 1:
            continue
        options, addresses, rest = {}, [], iter(words[1:])
        for word in rest:
            if not word.startswith("-"):
                addresses.append(word)
            elif word not in CURL_FLAGS:
                options.setdefault(word, []).append(next(rest))
        assert set(options) <= {"-F", "-H", "-d", "-o", "-X", "--cacert"}, words
        sends = set(options) & {"-F", "-d"}
        assert "-d" not in sends or options["-H"] == ["Content-Type: application/json"], words
        method = options.get("-X", ["POST" if sends else "GET"])[0].lower()
        fields = [field.partition("=")[0] for field in options.get("-F", [])]
        for address in addresses:
            check_request(method, address, fields, *map(json.loads, options.get("-d", [])))


def check_request(method, address, fields, body=None):
    """Check path, query, and form or JSON of a request against openapi.json."""
    url = urlsplit(address)
    if url.path in OTHERS:
        return
    templates = [path for path in OPENAPI["paths"] if re.fullmatch(pattern_of(path), url.path)]
    assert templates, address
    operation = OPENAPI["paths"][templates[0]][method]
    known = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
    for key, value in parse_qsl(url.query):
        assert known[key]["in"] == "query", address
        allowed = re.findall(r"'enum': \[(.*?)\]", str(known[key]["schema"]))
        assert not allowed or f"'{value}'" in allowed[0], address
    if fields:
        schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        if "$ref" in schema:
            schema = OPENAPI["components"]["schemas"][schema["$ref"].split("/")[-1]]
        assert set(fields) <= set(schema["properties"]), address
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": OPENAPI["components"]})


def pattern_of(path):
    """A regular expression for the paths of a template."""
    return re.sub(r"\{\w+?(:path)?\}", lambda found: ".+" if found[1] else "[^/]+", path)


@each_page
def test_profiles_and_services_of_compose_exist(page):
    profiles = {profile for service in COMPOSE.values() for profile in service.get("profiles", [])}
    for words, is_whole in commands(page):
        if words[:2] != ["docker", "compose"]:
            continue
        given = {after for word, after in pairwise(words) if word == "--profile"}
        assert given <= profiles, words
        verb = next((word for word in words if word in {"up", "run", "exec", "logs", "build"}), None)
        if not is_whole or verb is None:
            continue
        services = [word for word in words[words.index(verb) + 1 :] if not word.startswith("-")]
        assert set(services if verb == "up" else services[:1]) <= set(COMPOSE), words


def test_the_pages_show_commands_of_every_kind():
    """Without this, a fault in the reader of commands would let everything pass."""
    shown = {name(page): [words for words, is_whole in commands(page) if is_whole] for page in PAGES}
    assert len([words for words in shown["docs/use.md"] if program_of(words)]) >= 7
    assert len([words for words in shown["docs/train.md"] if program_of(words)]) >= 10
    assert len([words for words in shown["docs/deploy.md"] if words[:2] == ["docker", "compose"]]) >= 15
    assert len([words for words in shown["docs/slides.md"] if words[0] == "curl"]) >= 5
