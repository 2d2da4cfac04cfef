"""A hint about an e-mail address whose domain looks mistyped."""

from __future__ import annotations

from difflib import get_close_matches

from marshmallow import Schema, fields

#: Domains with very many mailboxes, without short ones, which are like too many others.
PROVIDERS = "gmail.com googlemail.com hotmail.com icloud.com outlook.com protonmail.com yahoo.com"

#: Other providers' domains that are like those.
OTHERS = "cloud.com email.com mail.com mailo.com protonmail.ch ymail.com zohomail.com"

#: Of ``difflib``: one letter more, less or different; in a longer domain, two. Less would find
#: domains of the same providers in other countries, such as ``hotmail.ca``.
SIMILARITY = 0.86


def suggestion(email: str | None) -> dict[str, str]:
    """Return the field ``suggestion`` of a response: the address with a domain that is meant.

    It depends on the address only, not on any account.
    """
    local, _, domain = (email or "").rpartition("@")
    near = get_close_matches(domain, PROVIDERS.split(), 1, SIMILARITY)
    if not near or domain in (*near, *OTHERS.split()) or domain.count(".") > 1:  # hotmail.com.br
        return {}
    return {"suggestion": f"{local}@{near[0]}"}


def with_suggestion(schema: Schema) -> Schema:
    """Return the schema of a response that may have a suggestion."""
    made = type(schema)
    field = fields.String(metadata={"is_optional": True})
    return made.from_dict({"suggestion": field}, name=f"{made.__name__}WithSuggestion")()
