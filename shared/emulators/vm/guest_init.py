"""First process of a local VM: runs the startup script as Google's guest agent does, then reaps until it is deleted.

The engine copies this file into the guest, whose own Python runs it: nothing of the host's may stand behind
/proc/1/exe, where the guest's root could write to it.
Source: https://docs.cloud.google.com/compute/docs/instances/startup-scripts/linux and the guest agent's
google_metadata_script_runner (fetch the attribute, write it to a file, execute that file; its output and
`startup-script exit status N` go to the serial port).
"""

import os
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

ATTRIBUTE = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/startup-script"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fetch_script() -> bytes | None:
    request = urllib.request.Request(ATTRIBUTE, headers={"Metadata-Flavor": "Google"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def start_script() -> int | None:
    script = fetch_script()
    if not script:
        say("No startup scripts to run.")
        return None
    path = Path(tempfile.mkdtemp(prefix="metadata-scripts"), "startup-script")
    path.write_bytes(script)
    path.chmod(0o755)
    say("Found startup-script in metadata.")
    try:
        return os.posix_spawn(path, [str(path)], os.environ, setsid=True, setsigmask=())
    except OSError as error:
        say(f"startup-script could not be executed: {error}")
        return None


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    say("Starting startup scripts (local VM).")
    try:
        script = start_script()
    except OSError as error:
        say(f"The metadata server did not answer: {error}")
        script = None
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            signal.sigwaitinfo({signal.SIGCHLD})
            continue
        if pid == script:
            say(f"startup-script exit status {os.waitstatus_to_exitcode(status)}")
            say("Finished running startup scripts.")
            script = None


if __name__ == "__main__":
    main()
