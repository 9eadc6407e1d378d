"""What a user did that cannot work, in one sentence."""


class InputError(ValueError):
    """A user's input cannot be used; the message is one sentence: what, where, what to do."""
