"""What can go wrong on the way to a disk or to the Hub, in words."""


class HubError(RuntimeError):
    """Something a person can mend: a missing permission, a full disk, a folder that is not a student. The message says what to do."""
