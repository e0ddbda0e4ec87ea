"""The Dockerfile, as far as it can be held to its word without Docker."""

import fnmatch
import json
import re

from dockerfile import ROOT, all_of, instructions, pip_words

from pacx.cli.terminal import parse
from pacx.cli.verbs.serve import ServeCall


def test_it_runs_as_nobody_in_particular_and_keeps_nothing() -> None:
    names = [name for name, _ in instructions()]
    assert all_of("USER") == ["10001:10001"]
    assert names.index("USER") > names.index("FROM", 1)  # of the image that is run, not of the one that builds
    assert "VOLUME" not in names
    assert not any("TOKEN" in rest for name, rest in instructions())


def test_images_are_named_by_tag_and_no_other_host_is() -> None:
    for image in all_of("FROM"):
        assert re.fullmatch(r"python:3\.\d+-slim( AS build)?", image)
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"index[-]url|https?://(?!127\.0\.0\.1:8080/)", text)


def test_what_it_copies_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for rest in all_of("COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert {word for word in copied if (ROOT / word).exists()} == set(copied) == allowed


def test_it_installs_the_pinned_versions_of_the_serve_extra_alone() -> None:
    words = pip_words()
    assert words[words.index("-c") + 1] == "constraints.txt"
    assert words[-1] == ".[serve]"


def test_everything_else_stays_outside() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in rules if not line.startswith("#")) == "*"
    for name in ("runs", "shared", ".git", ".venv", "tests"):
        assert not any(fnmatch.fnmatch(name, line[1:]) for line in rules if line.startswith("!"))


def test_the_command_is_understood_and_its_health_is_asked_where_it_listens() -> None:
    (entry,), (health,) = all_of("ENTRYPOINT"), all_of("HEALTHCHECK")
    program, verb, *words = json.loads(entry)
    assert (program, verb) == ("pacx", "serve")
    call = parse(ServeCall, [*words, "mae=/exports/mae"], verb="serve", example="")
    assert (call.host, call.no_auth, str(call.cache)) == ("0.0.0.0", False, "/tmp/pacx")
    assert f":{call.port}/health/ready" in health
    assert all_of("EXPOSE") == [str(call.port)]
