"""Text of chat messages: what chat models and their trainers hold a prompt or a completion in."""

from collections.abc import Mapping


def text_of(value: object) -> str:
    """The text of a string, or of messages ``[{"role": ..., "content": ...}]``: their contents, one below the other.

    A content may itself be a list of parts, of which those of type "text" count.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, str):
        return value
    if is_conversation(value):
        assert isinstance(value, list | tuple)
        return "\n".join(filter(None, (_content(message.get("content")) for message in value)))
    raise TypeError(f'text is expected, or messages [{{"role": ..., "content": ...}}], not {type(value).__name__}')


def is_conversation(value: object) -> bool:
    """Whether it is a list of messages."""
    return isinstance(value, list | tuple) and all(isinstance(part, Mapping) and "role" in part for part in value)


def _content(content: object) -> str:
    if content is None:  # a message that only calls a tool
        return ""
    if isinstance(content, list | tuple):
        return "".join(str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part)
    return str(content)
