"""What the token says about itself and its machine, held to the policy. Read only after the signature was verified.

A claim of the wrong type fails like one of the wrong value: JSON's 1 is not true, 11129.0 not 11129, ["x"] not "x".
"""

from __future__ import annotations

from typing import Any

from shared.appraisal import strict_json
from shared.appraisal.case import Case, Refused, shown

_MAX_TIME = 2**40
_MAX_NONCES = 6
_SUPPORT = frozenset({"STABLE", "USABLE", "LATEST"})


def payload_json(case: Case) -> str:
    try:
        case.claims = strict_json.parse(case.payload)
    except strict_json.BadJson as error:
        raise Refused(f"{len(case.payload)} bytes", f"The payload {error}.") from error
    return "an object"


def layout(case: Case) -> str:
    submods = case.claims.get("submods")
    if type(submods) is dict:
        space, container = submods.get("confidential_space"), submods.get("container")
        if type(space) is dict and type(container) is dict and type(submods.get("gce")) is dict:
            case.submods, case.space, case.container = submods, space, container
            return "confidential_space, container, gce"
    raise Refused(
        _keys(submods), "submods is not an object with the objects confidential_space, container and gce."
    )


def issuer(case: Case) -> str:
    return _equal(case, "iss", case.policy.issuer)


def audience(case: Case) -> str:
    found = case.claims.get("aud")
    if found != case.policy.audience:
        raise Refused(
            shown(found),
            f"aud is not exactly our audience, {case.policy.audience}: the token was made for somebody else.",
        )
    return case.policy.audience


def times(case: Case) -> str:
    claims = case.claims
    issued, begins, ends = claims.get("iat"), claims.get("nbf"), claims.get("exp")
    for each in (issued, begins, ends):
        # bool is an int in Python, and not in JSON
        if type(each) is not int or not 0 < each < _MAX_TIME:
            raise Refused(
                shown([issued, begins, ends]),
                "iat, nbf and exp are not all whole numbers of seconds since 1970.",
            )
    if not issued < ends or not begins < ends:  # type: ignore[operator]
        raise Refused(shown([issued, begins, ends]), "The token ends before it begins.")
    return f"iat {issued}, nbf {begins}, exp {ends}"


def lifetime(case: Case) -> str:
    claims, most = case.claims, case.policy.max_lifetime
    issued, begins = claims["iat"], claims["nbf"]
    seconds = claims["exp"] - (issued if issued < begins else begins)
    if seconds > most:
        raise Refused(f"{seconds} s", f"The token lives {seconds} s; at most {most} s are taken.")
    return f"{seconds} s"


def current(case: Case) -> str:
    claims, leeway, now = case.claims, case.policy.leeway, case.now
    issued, begins, ends = claims["iat"], claims["nbf"], claims["exp"]
    begins = issued if issued > begins else begins
    # Written so that a time that is no number fails.
    if not now >= begins - leeway:
        raise Refused(
            f"at {now:.0f}", f"The token is from the future: it begins at {begins}, {begins - now:.0f} s on."
        )
    if not now < ends + leeway:
        raise Refused(f"at {now:.0f}", f"The token expired at {ends}, {now - ends:.0f} s ago.")
    return f"{int(ends - now)} s before its end"


def age(case: Case) -> str:
    seconds, most = case.now - case.claims["iat"], case.policy.max_age
    if not seconds <= most + case.policy.leeway:
        raise Refused(
            f"{seconds:.0f} s", f"The token was issued {seconds:.0f} s ago; at most {most} s are taken."
        )
    return f"{int(seconds)} s"


def nonce(case: Case) -> str:
    rule, wanted, found = case.policy.nonce, case.nonce, case.claims.get("eat_nonce")
    digest = case.nonce_digest
    if wanted is None or digest is None:
        if rule.required:
            raise Refused(
                "none issued",
                "No nonce was issued for this token; one that only the token names does not prove that it is fresh.",
            )
        return "not asked for"
    length = len(wanted.encode(errors="surrogatepass"))
    if not rule.min_length <= length <= rule.max_length:
        raise Refused(
            digest,
            f"The nonce issued has {length} bytes; the policy takes {rule.min_length} to {rule.max_length}.",
        )
    if found == wanted:
        return digest
    if type(found) is str:
        listed = [found]
    elif type(found) is list and 0 < len(found) <= _MAX_NONCES and all(type(each) is str for each in found):
        listed = found
    else:
        raise Refused(digest, f"eat_nonce is neither text nor a list of up to {_MAX_NONCES} texts.")
    if wanted not in listed:
        raise Refused(digest, "eat_nonce is not exactly the nonce that was issued for this token.")
    if rule.alone and len(listed) != 1:
        raise Refused(digest, "eat_nonce holds other nonces beside ours, which the policy does not take.")
    return digest


def hardware(case: Case) -> str:
    found = case.claims.get("hwmodel")
    if type(found) is not str or found not in case.policy.hwmodel:
        raise Refused(
            shown(found), f"hwmodel is not {' or '.join(case.policy.hwmodel)}: memory may not be encrypted."
        )
    return found


def software(case: Case) -> str:
    return _equal(case, "swname", case.policy.swname)


def debugging(case: Case) -> str:
    found = case.claims.get("dbgstat")
    if found != case.policy.dbgstat:
        raise Refused(
            shown(found), f"dbgstat is not {case.policy.dbgstat}: somebody can look into this machine."
        )
    return case.policy.dbgstat


def secure_boot(case: Case) -> str:
    found = case.claims.get("secboot")
    if found is not True:
        raise Refused(shown(found), "secboot is not true: what booted was not checked.")
    return "true"


def maker(case: Case) -> str:
    found = case.claims.get("oemid")
    if type(found) is not int or found != case.policy.oemid:
        raise Refused(shown(found), f"oemid is not {case.policy.oemid}, Google's number.")
    return "11129"


def support(case: Case) -> str:
    found = case.space.get("support_attributes")
    if type(found) is not list:
        raise Refused(shown(found), "support_attributes is not a list, as production images have it.")
    for each in found:
        if type(each) is not str or each not in _SUPPORT:
            why = "holds a word that is not known here"
            raise Refused(
                shown(found), f"support_attributes {'is EXPERIMENTAL' if each == 'EXPERIMENTAL' else why}."
            )
    for wanted in case.policy.support_attributes:
        if wanted not in found:
            raise Refused(
                shown(found),
                f"support_attributes lacks {wanted}: the Confidential Space image is not supported.",
            )
    return ", ".join(found)


def software_version(case: Case) -> str:
    found = case.claims.get("swversion")
    version = found[0] if type(found) is list and len(found) == 1 else None
    if type(version) is not str or len(version) != 6 or not (version.isascii() and version.isdigit()):
        raise Refused(shown(found), "swversion is not a list with one version of six digits (YYMMNN).")
    if int(version) < case.policy.swversion_minimum:
        raise Refused(version, f"The Confidential Space image is older than {case.policy.swversion_minimum}.")
    return version


def trusted_base(case: Case) -> str:
    found = case.claims.get("tdx")
    if case.claims.get("hwmodel") != "GCP_INTEL_TDX":
        if found is not None:
            raise Refused(_keys(found), "The token has TDX claims, and its hwmodel is no TDX machine.")
        return "not a TDX machine"
    status = found.get("gcp_attester_tcb_status") if type(found) is dict else None
    if type(status) is not str or status not in case.policy.tdx_tcb_status:
        raise Refused(
            shown(status),
            f"tdx.gcp_attester_tcb_status is not {' or '.join(case.policy.tdx_tcb_status)}: the machine's "
            "firmware may have known flaws.",
        )
    return status


def gpu(case: Case) -> str:
    found = case.submods.get("nvidia_gpu")
    if case.policy.gpu == "none":
        if found is not None:
            raise Refused(_keys(found), "The machine has a GPU, and the policy takes none.")
        return "none"
    mode = found.get("cc_mode") if type(found) is dict else None
    if mode != "ON":
        raise Refused(shown(mode), "nvidia_gpu.cc_mode is not ON: what is on the GPU is not protected.")
    return "ON"


def monitoring(case: Case) -> str:
    found = case.space.get("monitoring_enabled")
    if type(found) is not dict or type(found.get("memory")) is not bool:
        raise Refused(shown(found), "monitoring_enabled does not say whether memory is monitored.")
    if case.policy.memory_monitoring == "forbidden" and any(each is not False for each in found.values()):
        raise Refused(shown(found), "The workload is being monitored, and the policy forbids it.")
    return "memory" if found["memory"] else "none"


def place(case: Case) -> str:
    gce, policy = case.submods["gce"], case.policy
    name, number, zone = gce.get("project_id"), gce.get("project_number"), gce.get("zone")
    for project in policy.projects:
        if name == project.id and number == project.number:
            break
    else:
        raise Refused(
            shown(f"{name} ({number})"), "The project's id and number are not those of a project allowed."
        )
    if policy.zones is not None and (type(zone) is not str or zone not in policy.zones):
        raise Refused(shown(zone), f"The zone is not {' or '.join(policy.zones)}.")
    return project.id


def accounts(case: Case) -> str:
    found = case.claims.get("google_service_accounts")
    if type(found) is not list or not found:
        raise Refused(shown(found), "google_service_accounts is not a list with at least one account.")
    for each in found:
        if type(each) is not str or each not in case.policy.service_accounts:
            raise Refused(
                shown(each), "The workload runs as a service account that the policy does not allow."
            )
    return found[0] if len(found) == 1 else ", ".join(found)


def signers(case: Case) -> str:
    rule, found = case.policy.signers, case.container.get("image_signatures")
    if rule is None:
        return "not asked for"
    if type(found) is not list:
        raise Refused(shown(type(found).__name__), "image_signatures is not a list: nobody signed the image.")
    counted, allowed = set(), rule.key_ids  # a set: one key that signed twice is one signer
    for each in found:
        if type(each) is dict:
            key = each.get("key_id")
            if type(key) is str and key in allowed:
                counted.add(key)
    if len(counted) < rule.minimum:
        raise Refused(
            f"{len(counted)} of {len(found)} signatures",
            f"The image is signed by {len(counted)} of the keys allowed; {rule.minimum} different ones are needed.",
        )
    return next(iter(counted)) if len(counted) == 1 else ", ".join(sorted(counted))


def _equal(case: Case, name: str, wanted: str) -> str:
    found = case.claims.get(name)
    if found != wanted:
        raise Refused(shown(found), f"{name} is not exactly {wanted}.")
    return wanted


def _keys(value: Any) -> str:
    return shown(", ".join(sorted(value))) if type(value) is dict else shown(type(value).__name__)
