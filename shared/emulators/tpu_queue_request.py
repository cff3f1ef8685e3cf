"""What a CreateQueuedResource request asks for: which nodes, how they are paid for, and when."""

import re
from dataclasses import dataclass
from typing import Any

from shared.emulators.tpu_capacity import Terms
from shared.emulators.tpu_errors import invalid
from shared.emulators.tpu_messages import copy

# Folders and organizations may hold one for all their projects; `-` is any there is, as gcloud's --reserved says it.
_RESERVATION = re.compile(
    r"(?:projects|folders|organizations)/[^/]+/locations/([^/]+)/reservations/([A-Za-z0-9-]+)"
)


@dataclass(frozen=True)
class Wanted:
    """A node that is to be made."""

    node_id: str
    node: Any


def wanted(resource: Any, parent: str, queued_id: str) -> tuple[Wanted, ...]:
    """The nodes. ApiError if there is none, or one elsewhere than in `parent`."""
    found: list[Wanted] = []
    for spec in resource.tpu.node_spec:
        if spec.parent != parent:
            raise invalid(f"The node spec's parent '{spec.parent}' is not '{parent}'.")
        slices = spec.multislice_params
        if spec.node_id:
            names = [spec.node_id]
        elif slices.node_count > 1:
            prefix = slices.node_id_prefix or queued_id
            names = [f"{prefix}-{number}" for number in range(slices.node_count)]
        else:
            raise invalid(
                "A node spec needs a 'node_id', or 'multislice_params' with a 'node_count' above 1."
            )
        for name in names:
            node = copy(spec.node)
            node.multislice_node = len(names) > 1
            if "spot" in resource:
                node.scheduling_config.spot = True
            if resource.reservation_name:
                node.scheduling_config.reserved = True
            found.append(Wanted(name, node))
    if not found:
        raise invalid("The queued resource asks for nothing: 'tpu.node_spec' is required.")
    if len({each.node_id for each in found}) < len(found):
        raise invalid("Two node specs of the queued resource have the same id.")
    return tuple(found)


def terms(resource: Any, nodes: tuple[Wanted, ...], zone: str) -> Terms:
    """How it is paid for. ApiError if the reservation's name is not one, or of another zone."""
    given = resource.reservation_name
    if not given:
        return Terms(any(each.node.scheduling_config.reserved for each in nodes))
    match = _RESERVATION.fullmatch(given)
    if not match or match[1] != zone:
        raise invalid(
            f"The reservation '{given}' is not one of {zone}: write "
            f"projects/PROJECT/locations/{zone}/reservations/RESERVATION."
        )
    return Terms(True, "" if match[2] == "-" else match[2])


def window(policy: Any, begun: float) -> tuple[float, float | None]:
    """Between which instants it may be served (seconds since the epoch; None: for ever), if it was asked for then."""
    if "valid_until_duration" in policy:
        return begun, begun + policy.valid_until_duration.total_seconds()
    if "valid_until_time" in policy:
        return begun, policy.valid_until_time.timestamp()
    if "valid_after_duration" in policy:
        return begun + policy.valid_after_duration.total_seconds(), None
    if "valid_after_time" in policy:
        return policy.valid_after_time.timestamp(), None
    if "valid_interval" in policy:
        interval = policy.valid_interval
        return _seconds(interval.start_time), _seconds(interval.end_time) if interval.HasField(
            "end_time"
        ) else None
    return begun, None


def _seconds(stamp: Any) -> float:
    return float(stamp.seconds + stamp.nanos / 1e9)
