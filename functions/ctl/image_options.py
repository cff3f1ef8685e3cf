"""The options of `./dmz image`, apart from its work: other commands need not load it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

_MORE = """\
examples:
  ./dmz image build quickstart_data --out image     an OCI layout; the same bytes on every machine
  ./dmz image build --all --check                   every image of the project against digests.txt
  ./dmz image push image registry.example/team/sample:v1
  ./dmz image verify image other-image --explain    the first layer, path and field that differ
  ./dmz image run image --env NAME=value -- argument

SPEC is the name of an image of the project, or the path of a spec with its lock beside it.

exit codes: 0 done, 1 failed or different, 2 bad input (nothing was begun)"""


def register(commands: Commands) -> None:
    """Add the command."""
    image = commands.add_parser(
        "image",
        help="build, lock, push, compare and run images of data services",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = image.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build", help="build an image, or all; prints name, image digest and configuration digest"
    )
    build.add_argument("spec", nargs="?", default="", metavar="SPEC")
    build.add_argument("--all", action="store_true", help="every image that comes with the project")
    build.add_argument(
        "--check", action="store_true", help="with --all: compare with the committed digests.txt"
    )
    build.add_argument("--out", type=Path, metavar="DIR", help="the layout (default: images/NAME in .dmz)")
    _codec(build)
    lock = actions.add_parser("lock", help="resolve a spec and pin every input; prints the lock's path")
    lock.add_argument("spec", metavar="SPEC")
    lock.add_argument(
        "--snapshot",
        default="",
        metavar="TIME",
        help="take Debian's packages as snapshot.debian.org has them of that time, like 20261120T000000Z",
    )
    push = actions.add_parser("push", help="push an image to a registry; prints its reference by digest")
    push.add_argument("image", metavar="DIR|SPEC", help="a layout, or what is to be built first")
    push.add_argument("reference", metavar="REFERENCE", help="HOST[:PORT]/REPOSITORY[:TAG]")
    _codec(push)
    publish = actions.add_parser("publish", help="build an image and push it to the project's own repository")
    publish.add_argument("spec", metavar="NAME")
    publish.add_argument(
        "--to",
        default="",
        metavar="local|PROJECT",
        help="the local platform or a Google Cloud project (default: the platform if it is up, else "
        "GOOGLE_CLOUD_PROJECT)",
    )
    _codec(publish)
    verify = actions.add_parser("verify", help="say whether two layouts hold the same image")
    verify.add_argument("one", type=Path, metavar="A")
    verify.add_argument("other", type=Path, metavar="B")
    verify.add_argument("--explain", action="store_true", help="name the first thing that differs")
    revision = actions.add_parser(
        "revision", help="print what the sources of an image are called in a statement"
    )
    revision.add_argument("spec", metavar="SPEC")
    smoke = actions.add_parser("smoke", help="start every stage of the services' image, and ask it")
    smoke.add_argument("layout", type=Path, metavar="DIR", help="what ./dmz image build services --out wrote")
    run = actions.add_parser("run", help="run an image in a sandbox", usage=RUN)
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    run.add_argument("--read-only", action="store_true", help=argparse.SUPPRESS)
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="DIR", help="of the layout")


RUN = "./dmz image run DIR [--env NAME=VALUE]... [--read-only] [-- ARGUMENT...]"


def run_words(given: list[str]) -> tuple[argparse.Namespace, list[str] | None]:
    """The words behind `image run`: directory and environment, and the arguments behind `--`, if there is one."""
    own, arguments = given, None
    if "--" in given:
        at = given.index("--")
        own, arguments = given[:at], given[at + 1 :]
    parser = argparse.ArgumentParser(prog="./dmz image run", usage=RUN)
    parser.add_argument("layout", type=Path)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--read-only", action="store_true")
    return parser.parse_args(own), arguments


def _codec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--codec",
        default="gzip",
        choices=("gzip", "zstd", "stored"),
        help="how layers are compressed (default: gzip, which every registry and scanner reads)",
    )
