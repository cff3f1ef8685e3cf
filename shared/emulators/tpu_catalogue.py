"""What a zone offers: accelerator types and runtime versions."""

from typing import Any

from google.cloud.tpu_v2.types import cloud_tpu

from shared.emulators.tpu_errors import not_found
from shared.emulators.tpu_names import parent_of, zone_of
from shared.emulators.tpu_server import Method
from shared.emulators.tpu_settings import Settings
from shared.model import accelerators

RUNTIMES = ("tpu-ubuntu2204-base", "v2-alpha-tpuv5", "v2-alpha-tpuv5-lite", "v2-alpha-tpuv6e")
"""Any other is taken as well: every VM boots the one root image of this machine."""


class Catalogue:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def methods(self) -> dict[str, tuple[Any, Method]]:
        return {
            "ListAcceleratorTypes": (cloud_tpu.ListAcceleratorTypesRequest, self.accelerator_types),
            "GetAcceleratorType": (cloud_tpu.GetAcceleratorTypeRequest, self.accelerator_type),
            "ListRuntimeVersions": (cloud_tpu.ListRuntimeVersionsRequest, self.runtime_versions),
            "GetRuntimeVersion": (cloud_tpu.GetRuntimeVersionRequest, self.runtime_version),
        }

    def accelerator_types(self, request: Any) -> Any:
        found = [_accelerator(request.parent, kind) for kind in self._offered(request.parent)]
        return cloud_tpu.ListAcceleratorTypesResponse(accelerator_types=found)

    def accelerator_type(self, request: Any) -> Any:
        parent, kind = parent_of(request.name), request.name.rsplit("/", 1)[-1]
        if kind not in self._offered(parent):
            raise not_found(request.name)
        return _accelerator(parent, kind)

    def runtime_versions(self, request: Any) -> Any:
        zone_of(request.parent, self._settings.project)
        found = [_runtime(request.parent, version) for version in RUNTIMES]
        return cloud_tpu.ListRuntimeVersionsResponse(runtime_versions=found)

    def runtime_version(self, request: Any) -> Any:
        parent, version = parent_of(request.name), request.name.rsplit("/", 1)[-1]
        zone_of(parent, self._settings.project)
        if version not in RUNTIMES:
            raise not_found(request.name)
        return _runtime(parent, version)

    def _offered(self, parent: str) -> list[str]:
        zone = zone_of(parent, self._settings.project)
        offered = self._settings.offered.get(zone, accelerators.NAMES)
        fitting = (kind for kind in accelerators.NAMES if kind in offered)
        return [kind for kind in fitting if accelerators.hosts(kind) <= self._settings.max_hosts]


def _accelerator(parent: str, kind: str) -> Any:
    return cloud_tpu.AcceleratorType(name=f"{parent}/acceleratorTypes/{kind}", type_=kind)


def _runtime(parent: str, version: str) -> Any:
    return cloud_tpu.RuntimeVersion(name=f"{parent}/runtimeVersions/{version}", version=version)
