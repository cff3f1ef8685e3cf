"""Commands as they stand in documents and in what the code prints: found, split as a shell splits them.

A *line* stands in a block of a document, or in a script: it is to be typed as it is, so it must be whole. A *mention*
stands in a sentence: it may leave arguments away, but its command and its options must exist.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

TOOLS = ("gcloud", "terraform", "jq", "./dmz")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?:    [^\n]*\n)+)")
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_SHELL = ("", "sh", "bash", "console")
# In a sentence of the code; words that only a group or a sub-command of these begin with.
_SPOKEN = re.compile(
    r"(?:\./dmz [a-z]|terraform (?:-chdir|apply|destroy|force-unlock|import|init|output|plan|state) ?"
    r"|gcloud (?:alpha|artifacts|auth|beta|builds|compute|config|firestore|iam|iap|kms|logging|projects|pubsub|run"
    r"|services|storage) [a-z])"
)
_SPOKEN_END = re.compile(r"[`\n;()]|  |, |: |\.(?: |$)|\.$|' ")


_OR = "\N{BROKEN BAR}"


@dataclass(frozen=True)
class Found:
    """One simple command and where it stands."""

    words: tuple[str, ...]
    where: str
    whole: bool

    @property
    def tool(self) -> str:
        return self.words[0]


def in_document(path: Path, name: str) -> Iterator[Found]:
    """Blocks and code spans of a Markdown file."""
    text = path.read_text()
    for match in _FENCE.finditer(text):
        if match[2] in _SHELL:
            yield from of_script(match[3], name)
    text = _FENCE.sub("\n", text)
    for match in _INDENTED.finditer(text):
        yield from of_script(match[1], name)
    for match in _SPAN.finditer(_INDENTED.sub("\n", text)):
        yield from spoken(match[1].replace("\\|", "|"), name)


def in_source(path: Path, name: str) -> Iterator[Found]:
    """Strings of a Python file, docstrings left out."""
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts | docs:
            text = node.value
        else:
            continue
        for match in _SPOKEN.finditer(text):
            rest = text[match.start() :]
            end = _SPOKEN_END.search(rest)
            yield from spoken(rest[: end.start()] if end else rest, f"{name}:{node.lineno}")


def in_terraform(path: Path, name: str) -> Iterator[Found]:
    """Comments and descriptions: what stands in backquotes or in brackets."""
    for match in re.finditer(r"[`(]((?:gcloud|terraform|\./dmz) [^`)\n]*)[`)]", path.read_text()):
        yield from spoken(match[1], name)


def in_build(path: Path, name: str) -> Iterator[Found]:
    """Scripts of cloudbuild.yaml's steps, and the comments that begin with a command."""
    text = path.read_text()
    for step in yaml.safe_load(text)["steps"]:
        yield from of_script(step.get("script", ""), f"{name}: {step.get('id', '')}")
    comments = re.sub(r"\\\n *# *", "", text)
    for match in re.finditer(r"^ *# +((?:gcloud|terraform|\./dmz) .*)$", comments, re.MULTILINE):
        yield from of_script(match[1], name)


def of_script(text: str, name: str) -> Iterator[Found]:
    """Every command of a shell's script that one of our tools carries out."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for words in simple(line.strip()):
            if words[0] in TOOLS:
                yield Found(words, name, whole=True)


def spoken(text: str, name: str) -> Iterator[Found]:
    """Commands in a piece of a sentence; `one|two` stands for either, `[…]` for what may be left away."""
    text = re.sub(r"\s+", " ", text).strip()
    if not text.startswith(tuple(f"{tool} " for tool in TOOLS)):
        return
    optional = re.sub(r"\[[^\]]*\]", "", text)
    for words in simple(re.sub(r"(?<=\w)\|(?=\w)", _OR, optional)):
        if words[0] in TOOLS:
            yield from (Found(each, name, whole=False) for each in _either(words))


def simple(line: str) -> Iterator[tuple[str, ...]]:
    """The simple commands of a line, those in `$(…)` too, without redirections and assignments."""
    while (at := _substitution(line)) is not None:
        start, end = at
        yield from simple(line[start + 2 : end])
        line = f"{line[:start]}VALUE{line[end + 1 :]}"
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        tokens = list(lexer)
    except ValueError:  # no line of a shell
        return
    words: list[str] = []
    skip = False
    for token in [*tokens, ";"]:
        if skip:
            skip = False
        elif token and set(token) <= set("<>"):
            skip = True
            if words and words[-1] in ("1", "2"):
                words.pop()
        elif token and set(token) <= set("|&;<>"):
            yield from _command(words)
            words, skip = [], token in (">&", "<&")
        else:
            words.append(token)


_KEYWORDS = ("if", "then", "else", "until", "while", "do", "!", "exec", "{")


def _command(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    rest = list(words)
    while rest and (rest[0] in _KEYWORDS or re.match(r"[A-Za-z_]\w*=", rest[0])):
        rest.pop(0)
    # A shell in a container, say: what it is told to run is the last of its words.
    for at, word in enumerate(rest):
        if word in TOOLS:
            yield tuple(rest[at:])
            return
    if rest:
        yield tuple(rest)


def _substitution(line: str) -> tuple[int, int] | None:
    start = line.find("$(")
    if start < 0 or line[start : start + 3] == "$((":
        return None
    depth = 0
    for at in range(start + 1, len(line)):
        depth += {"(": 1, ")": -1}.get(line[at], 0)
        if depth == 0:
            return start, at
    return None


def _either(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for at, word in enumerate(words):
        if _OR in word:
            for one in word.split(_OR):
                yield from _either((*words[:at], one, *words[at + 1 :]))
            return
    yield words


def _part(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "VALUE"
