"""The only place, beside the emulators, that imports google.*: adapters from our ports to Google's clients.

Clients are made on first use, never at import: a cold start pays for what it needs.
"""
