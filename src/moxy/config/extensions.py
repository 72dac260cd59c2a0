"""The key `extensions` of the schema: what clients are offered, by itself (`auto`) or as listed."""

from typing import Annotated, Final

from pydantic import PlainValidator

from moxy.config.types import Form, contradiction
from moxy.config.values import listed, shown
from moxy.routes.wording import nearest
from moxy.smtp.extension import ANNOUNCED, FOR_ALL, FOR_ANY, NEEDED

OFFERED: Final = tuple(keyword for keyword in ANNOUNCED if keyword in FOR_ALL | FOR_ANY)
"""What can be listed: all that a destination may lack."""

AUTO: Final = "auto"


def _extensions(value: object) -> str | tuple[str, ...]:
    if value == AUTO:
        return AUTO
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected `{AUTO}` or a list in brackets, not {shown(value)}{nearest(str(value), [AUTO])}")
    found: list[str] = []
    for index, word in enumerate(value):
        keyword = word.upper() if isinstance(word, str) else ""
        if keyword not in OFFERED:
            suggestion = nearest(str(word), OFFERED)
            raise contradiction(f"expected {listed(list(OFFERED))}, not {shown(word)}{suggestion}", index)
        if keyword in found:
            raise contradiction(f"`{keyword}` is named twice", index)
        found.append(keyword)
    for index, keyword in enumerate(found):
        needed = NEEDED.get(keyword)
        if needed in OFFERED and needed not in found:
            raise contradiction(f"`{keyword}` must not be offered without `{needed}`", index)  # RFC 6531 §3.1
    return tuple(found)


Extensions = Annotated[str | tuple[str, ...], PlainValidator(_extensions), Form(f"`{AUTO}` or a list of extensions")]
