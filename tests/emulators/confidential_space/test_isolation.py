"""A hostile workload: what it tries to reach, and that it reaches nothing but its own."""

from __future__ import annotations

import http.server
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from shared.emulators import tokens
from tests.emulators.confidential_space import images
from tests.emulators.confidential_space.conftest import (
    KEY,
    PROJECT,
    SUBSCRIPTION,
    TOPIC,
    Make,
    request,
    said,
)
from tests.emulators.vm.conftest import Ear, Internet, host_everywhere, host_loopback, internet  # noqa: F401 - fixtures
from tests.emulators.vm.support import origin, reply

SERIAL = {"tee-container-log-redirect": "serial"}


def pubsub(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b'{"answered": true}', Content_Type="application/json")


def attempt(space: Make, program: str, **more: Any) -> list[Any]:
    running = space(program, **more)
    running.insert(request(**SERIAL))
    return said(running.console())


def test_the_relay_holds_it_to_its_subscription_and_its_topic(space: Make) -> None:
    foreign = tokens.mint(KEY, f"outer@{PROJECT}.iam.gserviceaccount.com", time.time())
    forged = tokens.mint(b"x" * 32, f"service@{PROJECT}.iam.gserviceaccount.com", time.time())
    program = f"""
token = access_token()
def pubsub(method, path, bearer=token, body=b"{{}}"):
    request = urllib.request.Request("https://pubsub.googleapis.com" + path, data=body, method=method,
                                     headers={{"Authorization": "Bearer " + bearer}})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
P, T, S = "/v1/projects/{PROJECT}/", "/v1/{TOPIC}", "/v1/{SUBSCRIPTION}"
say([pubsub("POST", path) for path in (T + ":publish", S + ":pull", S + ":acknowledge", S + ":modifyAckDeadline")])
say([pubsub("POST", path) for path in (
    P + "topics/manifest-published:publish", P + "topics/sample-input:publish", S + ":publish", T + ":pull",
    P + "subscriptions/attestation:pull", P + "subscriptions/attestation:acknowledge", S + ":seek",
    S + ":modifyPushConfig", S + ":detach", S + "/../attestation:pull", S + "%2F..:pull", S + ":pull?x=1",
    "/v1/projects/other/topics/attestation-requested:publish", T, P + "topics", T + ":publish/")])
say([pubsub(method, path, body=None) for method, path in (
    ("GET", T), ("GET", S), ("GET", P + "topics"), ("GET", P + "subscriptions"), ("DELETE", S), ("DELETE", T),
    ("PUT", P + "subscriptions/mine"), ("PATCH", S), ("GET", S + ":pull"), ("PUT", T + ":publish"))])
say([pubsub("POST", path, bearer)
     for path in (T + ":publish", S + ":pull") for bearer in ({foreign!r}, {forged!r}, "")])
"""
    with origin(pubsub) as backend:
        own, other, methods, others = attempt(space, program, pubsub=backend.url)
    assert own == [200] * 4
    assert set(other) == {403}
    assert set(methods) == {403}
    assert set(others) == {403}
    assert len(backend.seen) == 4, [seen.path for seen in backend.seen]


def test_it_trusts_the_platform_without_a_word_in_its_environment(space: Make) -> None:
    program = """
say(fetch("https://confidentialcomputing.googleapis.com/.well-known/openid-configuration")[0])
say(fetch("https://confidentialcomputing.googleapis.com/compute/v1/projects/test-project")[0])
say(fetch("https://confidentialcomputing.googleapis.com/healthz", **{"Host": "pubsub.googleapis.com"})[0])
say(sorted(name for name in os.environ if "SSL" in name or "CA_BUNDLE" in name or "ROOTS" in name))
context = ssl.create_default_context(capath="/etc/ssl/certs")
say(fetch("http://metadata.google.internal/computeMetadata/v1/instance/attributes/tee-image-reference")[0])
"""
    assert attempt(space, program) == [200, 404, 403, [], 403]


def test_no_way_out(
    space: Make,
    host_loopback: Ear,  # noqa: F811 - the fixture
    host_everywhere: Ear,  # noqa: F811 - likewise
    internet: Internet,  # noqa: F811 - likewise
) -> None:
    program = f"""
def reach(family, address, port):
    results = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as client:
            client.settimeout(3)
            try:
                client.connect((address, port))
                client.send(b"x")
                if kind == socket.SOCK_STREAM:
                    client.recv(1)
                results.append("sent" if kind == socket.SOCK_STREAM else "sent blindly")
            except OSError as error:
                results.append(type(error).__name__)
    return results
say(reach(socket.AF_INET, "127.0.0.1", {host_loopback.port})[0])
say(reach(socket.AF_INET, "127.0.0.1", {host_everywhere.port})[0])
say(reach(socket.AF_INET, "198.51.100.2", {host_everywhere.port}))
say(reach(socket.AF_INET, {internet.address4!r}, {internet.ear4.port}))
say(reach(socket.AF_INET6, {internet.address6!r}, {internet.ear6.port}))
say(reach(socket.AF_INET, "1.1.1.1", 443))
for name in ("pypi.org", "www.google.com", "localhost.pypi.org"):
    try:
        say(socket.getaddrinfo(name, 443))
    except OSError as error:
        say(type(error).__name__)
say([line.split()[1] for line in open("/proc/net/route").read().splitlines()[1:]])
"""
    found = attempt(space, program)
    assert found == [
        "ConnectionRefusedError",
        "ConnectionRefusedError",
        ["OSError", "OSError"],
        ["OSError", "OSError"],
        ["OSError", "OSError"],
        ["OSError", "OSError"],
        "gaierror",
        "gaierror",
        "gaierror",
        [],
    ]
    ears = (host_loopback, host_everywhere, internet.ear4, internet.ear6)
    assert [ear.heard for ear in ears] == [[], [], [], []]


def test_the_kernel_gives_it_nothing(space: Make) -> None:
    program = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    return "ok" if getattr(libc, name)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
def opened(path, mode):
    try:
        open(path, mode).close()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
def made(*kind):
    try:
        socket.socket(*kind).close()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
say([call("unshare", 0x10000000), call("unshare", 0x20000), call("mount", b"none", b"/app", b"tmpfs", 0, None)])
say([made(40, 1), made(17, 3), made(38, 5), made(socket.AF_INET, socket.SOCK_RAW, 1)])
say([opened("/proc/sys/kernel/core_pattern", "w"), opened("/run/container_launcher/x", "w"),
     opened("/run/container_launcher/attestation_verifier_claims_token", "a"), opened("/proc/sysrq-trigger", "w")])
say([name for name in os.listdir("/proc") if name.isdigit()])
say([os.path.exists(path) for path in ("/.old-root/etc", "/work", "/var/lib/dpkg", "/proc/1/root/home")])
say(sorted(os.listdir("/run/container_launcher")))
say([name for name in os.listdir("/proc/self/fd")])
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
say([status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16) & (1 << 21 | 1 << 12 | 1 << 19 | 1 << 27)])
"""
    namespaces, sockets, files, processes, host, shared, descriptors, held = attempt(space, program)
    assert namespaces == ["ENOSPC", "EPERM", "EPERM"]
    assert sockets == ["EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT", "EPERM"]
    assert set(files) <= {"EACCES", "EROFS", "EPERM", "ENOENT"}
    assert files[1] == "EROFS"
    assert processes == ["1"]
    assert host == [False] * 4
    assert shared == ["attestation_verifier_claims_token", "teeserver.sock"]
    assert sorted(descriptors) == ["0", "1", "2", "3"]  # the third is the listing itself
    assert held == ["1", "2", 0]


def test_an_image_whose_links_lead_to_the_host_writes_only_into_itself(space: Make, tmp_path: Path) -> None:
    """Places that the platform writes to are links in the image: to the host's root as it was, ..."""
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o777)
    running = space("say(sorted(os.listdir('/etc')))\n")
    images.add_layer(tmp_path / "image", images.tarred([
        images.entry("etc", type=tarfile.SYMTYPE, linkname=f"/.old-root{target}"),
    ]))  # fmt: skip
    running.insert(request(**SERIAL))
    running.console()
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("descriptor", [100, 101, 3, 4, 5, 6])
def test_an_image_whose_links_lead_to_descriptors_writes_only_into_itself(
    space: Make, tmp_path: Path, descriptor: int
) -> None:
    """... and to what the process that becomes the container holds, or held, open."""
    running = space("say(sorted(os.listdir('/etc')))\n")
    images.add_layer(tmp_path / "image", images.tarred([
        images.entry("stolen", type=tarfile.DIRTYPE),
        images.entry("etc", type=tarfile.SYMTYPE, linkname=f"/proc/self/fd/{descriptor}/stolen"),
    ]))  # fmt: skip
    running.insert(request(**SERIAL))
    running.console()
    (root,) = (running.directory / "state" / "roots").iterdir()
    assert list((root / "stolen").iterdir()) == []


@pytest.mark.parametrize("user", ["1000:1000", "daemon", "4242"])
def test_it_runs_as_the_image_says(space: Make, user: str) -> None:
    running = space(
        "say([os.getuid(), os.getgid(), os.environ['HOME'], tee('GET', '/v1/token')[0]])\n",
        config_={"User": user, "WorkingDir": "/made/for/it"},
    )
    running.insert(request(**SERIAL))
    expected = {
        "1000:1000": [1000, 1000, "/", 200],
        "daemon": [1, 1, "/usr/sbin", 200],
        "4242": [4242, 0, "/", 200],
    }
    assert said(running.console()) == [expected[user]]
