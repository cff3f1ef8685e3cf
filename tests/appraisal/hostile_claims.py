"""Hostile claims in tokens whose signature holds."""

from __future__ import annotations

from typing import Any

from tests.appraisal import forge
from tests.appraisal.forge import NONCE, NOW, SIGNERS, Inputs
from tests.appraisal.hostile import CONTAINER, MISSING, Hostile, claim, put

ISSUER, AUDIENCE = forge.CLAIMS["iss"], forge.CLAIMS["aud"]
SPACE = "submods/confidential_space"
GCE_AS_LIST = [list(pair) for pair in forge.CLAIMS["submods"]["gce"].items()]


def changed(name: str, check: str, changes: dict[str, Any], *also: str, **inputs: Any) -> Hostile:
    """Several claims changed at once."""

    def bad() -> Inputs:
        content = forge.claims()
        for path, value in changes.items():
            put(content, path, value)
        return forge.good(forge.oidc(content), **inputs)

    return Hostile(name, check, bad, also=also)


def timed(name: str, check: str, iat: Any, nbf: Any, exp: Any, *also: str) -> Hostile:
    return changed(f"times: {name}", check, {"iat": iat, "nbf": nbf, "exp": exp}, *also)


def nonce(name: str, claimed: Any, issued: str | None = NONCE) -> Hostile:
    """Appraised for the nonce `issued`."""
    return Hostile(
        f"nonce: {name}",
        "nonce",
        lambda: forge.good(
            forge.oidc(forge.claims(lambda content: put(content, "eat_nonce", claimed))), nonce=issued
        ),
    )


def override(name: str, value: Any, *also: str) -> Hostile:
    """A variable overridden, and put into the environment as the launcher would."""

    def bad() -> Inputs:
        content = forge.claims()
        content["submods"]["container"]["env_override"][name] = value
        content["submods"]["container"]["env"][name] = value
        return forge.good(forge.oidc(content))

    return Hostile(f"override: {name}={value!r}"[:80], "environment overrides", bad, also=also)


def gpu(mode: Any, name: str = "") -> Hostile:
    """Under a policy that wants a GPU; the twin has one in mode ON."""
    with_gpu = forge.policy_with(gpu="confidential")

    def build(found: Any) -> Inputs:
        content = forge.claims()
        if found is not MISSING:
            content["submods"]["nvidia_gpu"] = found
        return forge.good(forge.oidc(content), policy=with_gpu)

    return Hostile(f"GPU: {name or mode!r}", "GPU", lambda: build(mode), lambda: build({"cc_mode": "ON"}))


def times() -> list[Hostile]:
    start, end = NOW - 10, NOW + 3590
    odd = ["1790000000", float(start), True, None, -1, 0, [start], {}, 2**41, MISSING]
    return [
        *(timed(f"iat {value!r}", "times", value, start, end) for value in odd),
        *(timed(f"nbf {value!r}", "times", start, value, end) for value in odd),
        *(timed(f"exp {value!r}", "times", start, start, value) for value in odd),
        timed("ends before it begins", "times", start, start, start - 1),
        timed("ends when it begins", "times", start, start, start),
        timed("begins after its end", "times", start, end + 1, end),
        timed("an hour and a second", "lifetime", start, start, start + 3601),
        timed("ten years", "lifetime", start, start, start + 315_360_000),
        timed("an hour from issue, begun long before", "lifetime", start, start - 86_400, end),
        timed("stale", "age", NOW - 631, NOW - 631, NOW + 2000),
        timed("from the future", "current", NOW + 31, NOW + 31, NOW + 3000),
        timed("begins in the future", "current", start, NOW + 31, end),
        timed("issued in the future", "current", NOW + 31, start, end),
        timed("expired", "current", NOW - 500, NOW - 500, NOW - 31),
        timed("expired to the second", "current", NOW - 500, NOW - 500, NOW - 30),
        timed("of another year", "current", NOW - 31_536_000, NOW - 31_536_000, NOW - 31_532_400, "age"),
    ]  # fmt: skip


ISSUERS = [
    *(
        ISSUER + "/",
        ISSUER + " ",
        ISSUER.upper(),
        "http" + ISSUER[5:],
        ISSUER + ".attacker.example",
        ISSUER + "\n",
    ),
    *(
        "https://attacker.example",
        "https://confidentialcomputing.googleapis.com@attacker.example",
        "",
        ISSUER + "#",
    ),
    *("https://confidentialcomputing.googleapis.com:443", "https://соnfidentialcomputing.googleapis.com"),
    *("https://portal.trustauthority.intel.com", "accounts.google.com", ISSUER + "\x00", ISSUER[:-1]),
    *(None, 1, True, [ISSUER], {"iss": ISSUER}, MISSING),
]
AUDIENCES = [
    *(
        AUDIENCE + "/",
        AUDIENCE.upper(),
        AUDIENCE + " ",
        AUDIENCE[:-1],
        AUDIENCE + "s",
        "",
        "*",
        AUDIENCE + "?x",
    ),
    *(
        "https://sts.googleapis.com",
        "https://dmz.example.org/attestation",
        AUDIENCE + "\n",
        "//" + AUDIENCE[8:],
    ),
    *([AUDIENCE], [AUDIENCE, "https://other.example"], [], None, 1, True, {AUDIENCE: True}, MISSING),
]
NONCES = [
    ("missing", MISSING),
    ("another one", "another nonce altogether"),
    ("in capitals", NONCE.upper()),
    ("with a blank", NONCE + " "),
    ("with a line end", NONCE + "\n"),
    ("cut", NONCE[:-1]),
    ("as a prefix", NONCE + NONCE),
    ("with a look-alike", NONCE.replace("a", "а", 1)),
    ("empty", ""),
    ("null", None),
    ("true", True),
    ("a number", 33),
    ("an object", {NONCE: NONCE}),
    ("an empty list", []),
    ("a list with another", ["another nonce altogether"]),
    ("ours among others", [NONCE, "another nonce altogether"]),
    ("ours twice", [NONCE, NONCE]),
    ("ours in a list in a list", [[NONCE]]),
    ("ours beside a number", [NONCE, 1]),
    ("ours among seven", [NONCE, *map(str, range(6))]),
    ("ours with a comma", NONCE + ",another"),
]
WRONG: dict[tuple[str, str], list[Any]] = {
    ("software", "swname"): [
        *("GCE", "confidential_space", "CONFIDENTIAL_SPACE ", "CONFIDENTIAL_SPACE_DEBUG", "", None, True),
        *(["CONFIDENTIAL_SPACE"], MISSING),
    ],
    ("debugging", "dbgstat"): [
        *("enabled", "Enabled", "enabled-since-boot", "disabled", "Disabled-Since-Boot", "disabled-since-boot "),
        *("disabled-since-boot\n", "", None, False, 0, ["disabled-since-boot"], MISSING),
    ],
    ("secure boot", "secboot"): [False, "true", "True", 1, 1.0, None, [True], {}, "", MISSING],
    ("maker", "oemid"): [11128, "11129", 11129.0, 0, -11129, None, True, [11129], MISSING],
    ("support", f"{SPACE}/support_attributes"): [
        [], ["LATEST", "USABLE"], ["USABLE"], ["EXPERIMENTAL"], ["STABLE", "EXPERIMENTAL"], ["stable"], ["STABLE "],
        "STABLE", "LATEST STABLE USABLE", {"STABLE": True}, [["STABLE"]], ["STABLE", 1], ["STABLE", "REVOKED"], None,
        True, MISSING,
    ],
    ("software version", "swversion"): [
        ["250799"], ["240900"], ["000000"], ["25080"], ["2508000"], ["25O800"], ["２５０８００"], [" 250800"], [250800],
        "250800", 250800, [], ["250800", "250800"], ["latest"], [None], None, {"0": "250800"}, ["-50800"], MISSING,
    ],
    ("trusted base", "tdx/gcp_attester_tcb_status"): [
        *("OutOfDate", "Revoked", "SWHardeningNeeded", "uptodate", "UpToDate ", "", None, True, ["UpToDate"], MISSING),
    ],
    ("trusted base", "tdx"): [None, [], ["UpToDate"], "UpToDate", [{"gcp_attester_tcb_status": "UpToDate"}], MISSING],
    ("GPU", "submods/nvidia_gpu"): [{"cc_mode": "ON"}, {"cc_mode": "OFF"}, {}, [], "", False],
    ("monitoring", f"{SPACE}/monitoring_enabled"): [
        {"memory": True}, {"memory": False, "hardened": True}, {"memory": "false"}, {"memory": 0}, {"memory": None}, {},
        {"Memory": False}, [], None, False, "none", {"memory": False, "x": None}, MISSING,
    ],
    ("place", "submods/gce/project_id"): ["dmz-inner-2", "DMZ-INNER", "dmz-inner ", "", None, ["dmz-inner"], MISSING],
    ("place", "submods/gce/project_number"): ["123456789013", 123456789012, "0123456789012", "", None, MISSING],
    ("place", "submods/gce/zone"): [
        "us-central1-f", "europe-west4-a", "us-central1-a ", "", None, ["us-central1-a"], MISSING,
    ],
    ("service accounts", "google_service_accounts"): [
        [], ["attacker@dmz-inner.iam.gserviceaccount.com"], "aggregator@dmz-inner.iam.gserviceaccount.com",
        ["aggregator@dmz-inner.iam.gserviceaccount.com", "attacker@x.iam.gserviceaccount.com"],
        ["AGGREGATOR@dmz-inner.iam.gserviceaccount.com"], ["aggregator@dmz-inner.iam.gserviceaccount.com\n"], None,
        [None], [["aggregator@dmz-inner.iam.gserviceaccount.com"]], {}, True, MISSING,
    ],
    ("command override", f"{CONTAINER}/cmd_override"): [
        ["--debug"], ["sh", "-c", "id"], "--debug", [""], {"0": "x"}, True, False, "", {}, 0, [[]],
    ],
    ("layout", "submods"): [None, [], "container", 1, MISSING],
    ("layout", CONTAINER): [None, [], "x", MISSING],
    ("layout", SPACE): [None, [["support_attributes", ["STABLE"]]], True, MISSING],
    ("layout", "submods/gce"): [None, GCE_AS_LIST, "", MISSING],
}  # fmt: skip
HARDWARE = [
    *(
        "GCP_SHIELDED_VM",
        "GCP_AMD_SEV ",
        "AMD_SEV",
        "gcp_amd_sev",
        "GCP_AMD_SEV_ES",
        "GCP_AMD_SEV_SNP",
        "",
        "GCE",
    ),
    *("GCP_AMD_SEV\n", "GCP_AMD_SEV,GCP_INTEL_TDX", None, True, ["GCP_AMD_SEV"], {"GCP_AMD_SEV": 1}),
]
FORBIDDEN = [
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"),
    *(
        "CLASSPATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "NODE_OPTIONS",
        "PERL5OPT",
        "RUBYOPT",
        "BASH_ENV",
    ),
    *("GCONV_PATH", "GLIBC_TUNABLES", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "PATH", "ld_preload"),
    *(
        "Ld_Preload",
        "java_tool_options",
        "OPENSSL_CONF",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "REQUESTS_CA_BUNDLE",
    ),
]


def signed(name: str, value: Any) -> Hostile:
    return claim("signers", f"{CONTAINER}/image_signatures", value, f"signers: {name}")


def signature(key_id: Any, text: str = "AAAA") -> dict[str, Any]:
    return {"key_id": key_id, "signature": text, "signature_algorithm": "ECDSA_P256_SHA256"}


FIRST, SECOND, THIRD = SIGNERS
SIGNED = [
    signed("nobody", []),
    signed("missing", MISSING),
    signed("null", None),
    signed("one of two", [signature(FIRST)]),
    signed("one counted twice", [signature(FIRST), signature(FIRST)]),
    signed("one counted twice, by another signature", [signature(FIRST), signature(FIRST, "BBBB")]),
    signed("one counted twice, in capitals", [signature(FIRST), signature(FIRST.upper())]),
    signed("one counted twice, with a prefix", [signature(FIRST), signature("sha256:" + FIRST)]),
    signed("one counted twice, with a blank", [signature(FIRST), signature(FIRST + " ")]),
    signed("one and a stranger", [signature(FIRST), signature(THIRD)]),
    signed("one and many strangers", [signature(FIRST), *(signature(f"{n:064x}") for n in range(20))]),
    signed("one and a list", [signature(FIRST), signature([SECOND])]),
    signed("one and a text", [signature(FIRST), SECOND]),
    signed("an object", {FIRST: signature(FIRST), SECOND: signature(SECOND)}),
    signed("names alone", [FIRST, SECOND]),
    signed("text", f"{FIRST},{SECOND}"),
    signed("another field", [signature(FIRST), {"keyid": SECOND}]),
]
HOSTILE = [
    *(claim("issuer", "iss", value) for value in ISSUERS),
    *(claim("audience", "aud", value) for value in AUDIENCES),
    *times(),
    *(nonce(name, value) for name, value in NONCES),
    nonce("none was issued, and the token brings one", NONCE, None),
    nonce("none was issued, and the token brings none", MISSING, None),
    nonce("too short a one was issued", "short", "short"),
    nonce("too long a one was issued", "x" * 75, "x" * 75),
    nonce("the issued one is half a character", "x" * 10, "\ud800" * 10),
    *(
        claim(check, path, value)
        for (check, path), values in WRONG.items()
        for value in values
    ),
    *(changed(f"hwmodel {value!r}", "hardware", {"hwmodel": value, "tdx": MISSING}) for value in HARDWARE),
    changed("hwmodel missing", "hardware", {"hwmodel": MISSING, "tdx": MISSING}),
    changed("TDX claims on a SEV machine", "trusted base", {"hwmodel": "GCP_AMD_SEV"}),
    *(gpu(mode) for mode in ({"cc_mode": "OFF"}, {"cc_mode": "DEVTOOLS"}, {"cc_mode": "on"}, {"cc_mode": ["ON"]})),
    *(gpu(mode) for mode in ({"cc_mode": None}, {"cc_mode": True}, {}, [], "ON", None, [{"cc_mode": "ON"}])),
    gpu(MISSING, "missing"),
    *(override(name, "x") for name in FORBIDDEN),
    *(override(name, "x") for name in ("DEBUG", "fcp_opts", "FCP_OPTS ", "FCP_OPTS2", "")),
    *(override("FCP_OPTS", value) for value in ("A", "a\n", "\na", "a;b", "a" * 41, "$(id)", "а")),
    *(override("FCP_OPTS", value) for value in (1, None, ["a"], {"a": "b"}, True)),
    *(
        claim("environment overrides", f"{CONTAINER}/env_override", value, f"override: {value!r}", "environment")
        for value in ([["FCP_OPTS", "a b"]], "FCP_OPTS=a b", True)
    ),
    *SIGNED,
    changed(
        "another machine entirely",
        "hardware",
        {"hwmodel": "GCP_SHIELDED_VM", "swname": "GCE"},
        "software",
        "trusted base",
    ),
]  # fmt: skip
