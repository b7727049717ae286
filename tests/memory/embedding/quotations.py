"""A provider that quotes what it was sent, in forms in which no comparison with it finds it."""

import json
import re

from tests.memory.embedding.fake_api import Answer

TEXT = 'Боюсь "арахиса": xylophagous'
WORDS = {"арахиса", "xylophagous"}
FORMS = {
    "escaped": json.dumps([TEXT]),
    "in capitals": TEXT.upper(),
    "in lines": "\n".join(TEXT[start : start + 6] for start in range(0, len(TEXT), 6)),
    "bare": f"I do not take {TEXT} from anybody",
}
ESCAPE = re.compile(r"\\+u([0-9a-f]{4})|\\+[nrt]", re.IGNORECASE)


def quoting(status: int, form: str = "escaped") -> Answer:
    """An error that quotes `TEXT`; it asks not to be tried again soon."""
    body = {"error": {"message": FORMS[form], "code": status}}
    return Answer(status, {"Retry-After": "60"}, body)


def quoted_in(place: str) -> set[str]:
    """The words of `TEXT` that are in `place`, in whatever form."""
    plain = ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", place).lower()
    letters = "".join(filter(str.isalpha, plain))
    return {word for word in WORDS if word in letters}
