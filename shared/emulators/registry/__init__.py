"""A stand-in for Artifact Registry on one machine: Python, apt, docker and generic repositories, over plain HTTP.

It listens on loopback alone.

Google ships no emulator for it. What is imitated here cites the page that it imitates, in the module that does it.
Start it with `python -m shared.emulators.registry --config FILE`; `config.py` says what stands in the file.
"""
