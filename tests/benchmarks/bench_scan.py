"""How long 240 packages take from advisories to verdicts.

    python -m tests.benchmarks.bench_scan [DIRECTORY]

DIRECTORY holds OSV zips in osv-scanner's layout; the snapshot that comes with the project otherwise. Cold: everything
from opening the zips on, as the first event of a new instance sees it. Warm: a second manifest on the same instance.
Exits 1 if the best cold run takes a second or more.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import shared.data.advisories
from shared.advisories.zips import ZipAdvisories
from shared.judgement import Court
from shared.model.case import Subject
from shared.model.package import Package, Release
from shared.policy.read import find

RUNS = 5
LIMIT = 1.0  # seconds
RELEASE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")

# What maxtext[tpu] 0.2.5 resolved to for Python 3.13 on 2026-11-21, and two more.
PACKAGES = """
absl-py==2.5.1 aiofiles==25.1.0 aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0
annotated-doc==0.0.7 annotated-types==0.8.0 antlr4-python3-runtime==4.13.2 anyio==4.16.0 aqtp==0.9.0
array-record==0.8.6 astroid==4.3.4 astunparse==1.6.3 attrs==26.1.0 auditwheel==6.8.2 black==26.5.1
blobfile==3.3.0 build==1.6.1 certifi==2026.10.18 cffi==2.1.1 cfgv==3.5.0 charset-normalizer==3.5.2
cheroot==11.1.2 chex==0.1.92 click==8.5.1 cloud-accelerator-diagnostics==0.1.1 cloudpickle==3.1.2
colorama==0.4.6 contourpy==1.4.0 coverage==7.17.3 cryptography==50.0.2 cycler==0.12.1
datasets==5.2.0 decorator==5.3.1 defusedxml==0.7.1 dill==0.4.1 distlib==0.4.4 distro==1.9.0
docstring-parser==0.18.0 drjax==0.2.1 duckdb==2.0.0 einshape==1.0 etils==1.15.0 evaluate==0.4.6
execnet==2.1.2 fastapi==0.165.0 filelock==4.2.11 fire==0.7.1 flatbuffers==25.12.19 flax==0.12.12
fonttools==4.68.0 frozenlist==1.8.0 fsspec==2026.9.0 gast==0.7.0 gcsfs==2026.10.1
google-api-core==2.44.0 google-api-python-client==2.202.0 google-auth==2.62.2
google-auth-httplib2==0.4.4 google-auth-oauthlib==1.5.0 google-cloud-aiplatform==2.7.0
google-cloud-appengine-logging==1.11.0 google-cloud-audit-log==0.6.3 google-cloud-bigquery==3.47.0
google-cloud-core==2.8.0 google-cloud-logging==3.17.0 google-cloud-mldiagnostics==1.0.10
google-cloud-monitoring==2.32.0 google-cloud-resource-manager==1.19.0 google-cloud-storage==3.17.1
google-cloud-storage-control==1.17.0 google-crc32c==1.9.0 google-genai==2.34.0 google-pasta==0.2.0
google-resumable-media==2.11.0 googleapis-common-protos==1.76.0 grain==0.2.18
grpc-google-iam-v1==0.14.6 grpcio==1.85.1 grpcio-status==1.85.1 gviz-api==1.10.0 h11==0.16.0
h5py==3.16.0 hf-xet==1.8.0 httpcore==1.0.9 httpcore2==2.16.2 httplib2==0.32.1 httpx==0.28.1
httpx2==2.16.2 huggingface-hub==2.4.0 humanize==4.17.0 hypothesis==6.170.15 identify==2.6.20
idna==3.20 immutabledict==4.3.1 importlab==0.8.1 iniconfig==2.3.1 isort==9.0.2
jaraco-functools==4.6.0 jax==0.12.0.1 jaxlib==0.12.0.1 jaxtyping==0.3.11 jinja2==3.1.6 joblib==1.6.0
jsonlines==4.0.0 keras==3.15.1 kiwisolver==1.5.1 latex2sympy2-extended==1.11.0 libclang==18.1.1
libcst==1.9.0 libtpu==0.0.52 lxml==6.1.3 markdown==3.11.3 markdown-it-py==4.3.0 markupsafe==3.0.4
math-verify==0.9.0 matplotlib==3.11.2 maxtext==0.2.5 mccabe==0.7.0 mdurl==0.1.2
ml-collections==1.1.0 ml-dtypes==0.6.0 ml-goodput-measurement==0.2.3 more-itertools==11.2.1
mpmath==1.4.1 msgpack==1.2.4 msgspec==0.22.0 multidict==7.2.1 multiprocess==0.70.19
mypy-extensions==1.2.0 namex==0.1.0 networkx==3.7 ninja==1.13.2 nltk==3.10.4 nodeenv==1.12.0
numpy==2.5.5 numpy-typing-compat==20260602.2.5 nvidia-cuda-cccl==13.3.5.0.6 nvidia-ml-py==13.615.71
oauthlib==4.0.1 omegaconf==2.4.0 opentelemetry-api==1.45.2 opt-einsum==3.4.0 optax==0.2.8
optree==0.20.0 optype==0.19.0 orbax-checkpoint==0.12.8 packaging==26.3 pandas==3.1.1
parameterized==0.9.0 pathspec==1.1.1 pathwaysutils==0.1.13 pillow==13.0.0 platformdirs==4.14.7
pluggy==1.7.0 portpicker==1.6.0 pre-commit==4.7.0 prometheus-client==0.26.0 propcache==0.5.4
proto-plus==1.29.0 protobuf==7.36.2 psutil==7.2.2 pyarrow==26.0.1 pyasn1==0.6.5
pyasn1-modules==0.4.2 pycnite==2024.7.31 pycparser==3.12 pycryptodomex==3.24.2 pydantic==2.14.3
pydantic-core==2.50.4 pydot==4.0.1 pyelftools==0.33 pygments==2.21.0 pyink==26.5.1 pylint==4.1.4
pynvml==13.0.1 pyparsing==3.3.3 pyproject-hooks==1.3.3 pytest==9.2.0 pytest-xdist==3.8.0
python-dateutil==2.9.0.post0 python-discovery==1.9.5 pytokens==0.4.1 pyyaml==6.0.3 pyyaml-ft==8.0.0
qwix==0.1.8 regex==2026.11.15 requests==2.34.2 requests-oauthlib==2.0.0 responses==0.26.3
rich==15.0.0 safetensors==0.8.0 scipy==1.18.1 scipy-stubs==1.18.1.1 sentencepiece==0.2.3
setuptools==84.2.1 shellingham==1.5.4 shortuuid==1.0.13 simplejson==4.3.0 six==1.17.0 sniffio==1.3.1
sortedcontainers==2.4.0 starlette==1.10.0 sympy==1.12 tabulate==0.10.0 tenacity==9.1.4
tensorboard-plugin-profile==2.13.0 tensorboardx==2.6.5 tensorstore==0.1.86 termcolor==3.3.0
tiktoken==0.14.0 tokamax==0.0.17 tokenizers==0.23.3 toml==0.10.2 tomlkit==0.15.2 toolz==1.2.0
tqdm==4.70.1 transformers==5.23.0 treescope==0.1.10 truststore==0.10.5 typeguard==4.6.0
typer==0.29.2 typing-extensions==4.16.0 typing-inspection==0.4.5 uritemplate==4.2.0 urllib3==2.8.0
uvicorn==0.54.0 uvloop==0.23.0 virtualenv==21.15.8 wadler-lindig==0.1.8 websockets==17.4
werkzeug==3.1.9 wheel==0.48.0 xprof==2.24.2 xxhash==4.1.0 yarl==1.25.1 zipp==4.1.2 zstandard==0.25.0
pytype==2024.10.11 keras==3.10.0
"""


def packages() -> list[Package]:
    pairs = (line.split("==") for line in PACKAGES.split())
    return [Package(ecosystem="pypi", name=name, version=version) for name, version in pairs]


def scan(advisories: ZipAdvisories, wanted: list[Package]) -> dict[str, int]:
    """Verdicts by decision."""
    court = Court(advisories, find("offline"), RELEASE, time.time())
    verdicts = court.judge([Subject(package=package) for package in wanted])
    decisions = [verdict.decision for verdict in verdicts]
    return {decision: decisions.count(decision) for decision in sorted(set(decisions))}


def ended(cold: float, warm: float) -> int:
    """Says the best times in seconds; the exit code."""
    print(f"cold {cold:.3f} s, warm {warm:.3f} s (limit {LIMIT:.0f} s cold)")
    return int(cold >= LIMIT)


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(shared.data.advisories.__file__).parent
    wanted, cold, warm, counts = packages(), [], [], {}
    for _ in range(RUNS):
        advisories = ZipAdvisories(directory, ["PyPI"])
        for seconds in (cold, warm):
            started = time.perf_counter()
            counts = scan(advisories, wanted)
            seconds.append(time.perf_counter() - started)
    size = (directory / "PyPI" / "all.zip").stat().st_size
    print(
        f"{len(wanted)} packages, {directory}/PyPI/all.zip of {size / 1e6:.1f} MB, best of {RUNS}: {counts}"
    )
    return ended(min(cold), min(warm))


if __name__ == "__main__":
    sys.exit(main())
