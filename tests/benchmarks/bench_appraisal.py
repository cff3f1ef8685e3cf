"""How many tokens are appraised in a second, beside the bare RS256 verification of the same tokens.

    python -m tests.benchmarks.bench_appraisal [TOKENS_A_ROUND]

Every token is another one: its own nonce, times and host name, as a service's tokens are. Each is appraised whole:
parsed, verified, all checks asked, the result made. The floor is what the same library takes for the signatures alone,
of the same bytes under the same key, in the same run. The two take turns in short rounds, warm, and each counts by its
best one, in seconds of the processor, so that neighbours count little. Exits 1 if appraisals come to less than a third
of the floor's rate.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from shared.appraisal.appraise import appraise
from tests.appraisal import forge
from tests.appraisal.forge import Inputs

ROUNDS = 40
LIMIT = 1 / 3
REFERENCES = (forge.reference(),)


def inputs(number: int, kind: str) -> Inputs:
    """The inputs of the appraisal number `number`, all different."""
    nonce = f"a nonce that was issued as {number:06}"
    content = forge.claims()
    start = forge.NOW - 10 - number % 100
    content.update(eat_nonce=nonce, iat=start, nbf=start, exp=start + 3600)
    name = f"aggregator-{number}"
    content["submods"]["gce"].update(instance_name=name, instance_id=str(number))
    content["submods"]["container"]["env"]["HOSTNAME"] = name
    token = forge.oidc(content) if kind == "OIDC" else forge.pki(content)
    return forge.good(token, nonce=nonce, now=forge.NOW + number % 10, references=REFERENCES)


def appraised(cases: Sequence[Inputs]) -> float:
    """Tokens per second."""
    started = time.process_time()
    for case in cases:
        result = appraise(case.token, case.policy, case.keys, case.references, case.nonce, case.now)
        assert result.decision == "accepted", result.failed
    return len(cases) / (time.process_time() - started)


def verified(cases: Sequence[Inputs], kind: str) -> float:
    """Signatures per second, of the same tokens, taken apart beforehand."""
    key = forge.key("oidc" if kind == "OIDC" else "leaf").public_key()
    parts = []
    for case in cases:
        signed, _, signature = str(case.token).rpartition(".")
        parts.append((base64.urlsafe_b64decode(signature + "=="), signed.encode()))
    padding, algorithm = PKCS1v15(), SHA256()
    started = time.process_time()
    for raw, message in parts:
        key.verify(raw, message, padding, algorithm)
    return len(cases) / (time.process_time() - started)


def ended(ratios: Sequence[float]) -> int:
    """Says the ratios; the exit code."""
    worst = min(ratios)
    print(f"worst ratio {worst:.2f} (limit {LIMIT:.2f})")
    return int(worst < LIMIT)


def measure(kind: str, count: int) -> float:
    """The ratio; every round has tokens of its own, which nothing can have remembered."""
    rates, warm = [], [inputs(number, kind) for number in range(count)]
    for number in range(1, ROUNDS + 1):
        cases = [inputs(number * count + each, kind) for each in range(count)]
        verified(warm, kind)
        floor = verified(cases, kind)
        appraised(warm)
        rates.append((appraised(cases), floor))
    ours, floor = (max(column) for column in zip(*rates, strict=True))
    print(f"{kind}: {ours:,.0f} appraisals/s, {floor:,.0f} RS256 verifications/s, ratio {ours / floor:.2f}")
    return ours / floor


def main(count: int) -> int:
    print(f"best of {ROUNDS} rounds of {count} tokens each")
    return ended([measure(kind, count) for kind in ("OIDC", "PKI")])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
