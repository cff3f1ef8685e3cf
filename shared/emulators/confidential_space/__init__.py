"""Confidential Space's stand-in: launches a container image as Google's launcher does, and attests to it.

What a client sees: a part of the Compute Engine API (`compute`), the attestation service's keys (`issuer`), and the
services of the containers that run. What a container sees: its metadata server, the hosts that the platform gives it,
and the launcher's socket (`tee`). No memory is encrypted and nothing is measured by hardware here: what a real token
says because a TPM saw it, ours says because this emulator did it. The roots that sign are this machine's own.

Sources: https://cloud.google.com/confidential-computing/confidential-space/docs and the launcher that Google
publishes, https://github.com/google/go-tpm-tools (directory launcher, August 2026).
"""
