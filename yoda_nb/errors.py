"""What a user did that cannot work, in one sentence."""


class InputError(ValueError):
    """A user's input cannot be used; the message is one sentence: what, where, what to do.

    What is quoted in it may hold anything: line breaks and other invisible characters are escaped.
    """

    def __init__(self, message: str = ""):
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text as one line that can be written anywhere."""
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)
