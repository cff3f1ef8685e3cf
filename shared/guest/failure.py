"""The one exception that the guest raises on purpose."""


class GuestError(Exception):
    """One sentence for a person: what is wrong, where, and what to do. Ends the run with a failed report."""
