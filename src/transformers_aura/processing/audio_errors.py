"""What is raised and warned of where audio cannot be used as given."""


class AudioLoadingError(ValueError):
    """Audio that cannot be used as given; the message says what was given and what to do about it."""


class AudioTooLongError(AudioLoadingError):
    """A recording that is longer than whoever loads it takes."""


class SilentAudioWarning(UserWarning):
    """The audio holds nothing but digital silence: it is accepted, but there is no question in it."""
