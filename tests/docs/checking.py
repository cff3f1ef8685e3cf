"""What the tools themselves say of a command, without carrying it out."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from functions.ctl import cli
from tests.docs.commands import Found

_LEFT_AWAY = ("RequiredError", "RequiredMutexError")
"""gcloud's complaints about arguments that are not there."""
_COMPILES = 3
"""jq's exit code for a program that it cannot read; 2 for options that it does not know (jq(1))."""


def gcloud(found: Sequence[Found], scratch: Path) -> Iterator[str]:
    """By gcloud's own linter, which asks nobody: `gcloud meta lint-gcloud-commands`."""
    if not found:
        return
    file = scratch / "commands.json"
    lines = [shlexed(one.words) for one in found]
    # It answers once for each text; ids begin at 1, as it takes 0 for none.
    given = [{"command_string": line, "id": at} for at, line in enumerate(dict.fromkeys(lines), 1)]
    file.write_text(json.dumps(given))
    done = subprocess.run(
        ("gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}", "--serialize"),
        env=_private(scratch),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    said = {each["command_string"]: answers[str(each["id"])][0] for each in given}
    for one, line in zip(found, lines, strict=True):
        answer = said[line]
        left_away = answer["error_type"] in _LEFT_AWAY or "Command name argument expected" in str(
            answer["error_message"]
        )
        if not answer["success"] and (one.whole or not left_away):
            yield f"{one.where}: {line}: {str(answer['error_message']).splitlines()[0]}"


def shlexed(words: Sequence[str]) -> str:
    """As the linter reads it: it takes `#` for a comment and knows nothing of what stands behind `--`."""
    own = words[: words.index("--")] if "--" in words else words
    return " ".join(_quoted(word) for word in own).replace("#", "_")


# What it looks into: a placeholder is no project's id, nor a port.
_KNOWN = {"--project": "my-project", "--host-port": "127.0.0.1:80"}


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    if name in _KNOWN and equals and re.search("[A-Z${]", value):
        value = _KNOWN[name]
    if not re.search(r"[\s'&|;]", word):
        return f"{name}{equals}{value}"
    return f'{name}="{value}"' if name.startswith("--") else f'"{word}"'


_TAKEN_OVER = {"apply": (["plan"],), "destroy": (["apply"], ["plan"])}
_GROUPS = ("metadata", "state", "workspace")


def terraform(one: Found) -> Iterator[str]:
    """The sub-command exists, and its help names every option."""
    words = [word for word in one.words[1:] if not word.startswith("-chdir=")]
    path: list[str] = []
    while words and re.fullmatch(r"[a-z][a-z-]*", words[0]) and len(path) < 2 and _help(*path, words[0]):
        path.append(words.pop(0))
        if path[0] not in _GROUPS:
            break
    if not path or (len(path) == 1 and path[0] in _GROUPS and one.whole):
        yield f"{one.where}: terraform has no command {' '.join((*path, *words[:1])) or '(none)'}"
        return
    # Their help says that they take what plan takes.
    text = "".join(_help(*each) for each in (path, *_TAKEN_OVER.get(path[0], ())))
    for word in words:
        if not word.startswith("-"):
            continue
        name, equals, _ = word.partition("=")
        takes = {end for option, end in re.findall(r"(?<![\w-])(-[a-z][a-z-]*)(=?)", text) if option == name}
        if not takes:
            yield f"{one.where}: terraform {' '.join(path)} has no option {name}"
        elif one.whole and takes == {"="} and not equals:
            yield f"{one.where}: terraform {' '.join(path)} takes {name} with a value only"


@functools.cache
def _help(*path: str) -> str:
    """Terraform's own words about a command; empty if there is none."""
    done = subprocess.run(
        ("terraform", *path, "-help"), capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout + done.stderr
    return said if f"terraform [global options] {' '.join(path)}" in said else ""


def jq(one: Found) -> Iterator[str]:
    """jq compiles it, over no input."""
    done = subprocess.run(
        (*one.words, "-n"), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode in (2, _COMPILES):
        yield f"{one.where}: {' '.join(one.words)}: {done.stderr.strip().splitlines()[0]}"


class _Wrong(Exception):
    pass


def dmz(one: Found) -> Iterator[str]:
    """The command line's own parser reads it; a mention may leave arguments away."""
    try:
        (_whole if one.whole else _mentioned)(one.words[1:])
    except _Wrong as error:
        yield f"{one.where}: {' '.join(one.words)}: {error}"


def _whole(words: Sequence[str]) -> None:
    parser = cli.parser()
    for each in _all(parser):
        each.error = _refuse  # type: ignore[method-assign]
    # Placeholders stand where a number is asked for.
    numbers = {action for each in _all(parser) for action in each._actions if action.type in (int, float)}
    for action in numbers:
        action.type = str
    parser.parse_args(list(words))


def _mentioned(words: Sequence[str]) -> None:
    parser = cli.parser()
    rest = list(words)
    while rest and (commands := _commands(parser)) is not None:
        if rest[0] not in commands:
            if parser.prog == "./dmz" or re.fullmatch(r"[a-z]+", rest[0]):
                raise _Wrong(f"no command {rest[0]}")
            return
        parser = commands[rest.pop(0)]
    remainder = any(action.nargs == argparse.REMAINDER for action in parser._actions)
    known = {option for action in parser._actions for option in action.option_strings}
    for word in rest:
        name = word.partition("=")[0]
        if word == "--":
            return
        if re.fullmatch(r"--[a-z-]+", name) and name not in known and not remainder:
            raise _Wrong(f"no option {name}")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return None


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for each in (_commands(parser) or {}).values():
        yield from _all(each)


def _refuse(message: str) -> None:
    raise _Wrong(message)


def _private(scratch: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
    return kept | {
        "CLOUDSDK_CONFIG": os.fspath(scratch / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }
