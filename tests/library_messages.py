"""Texts of libraries that our catalogs translate.

The package finds them in the catalogs by the text itself, so only the extraction needs this list.
"""

from __future__ import annotations

from flask_registration.i18n.messages import Message

MARSHMALLOW: tuple[Message, ...] = (
    Message("Missing data for required field."),
    Message("Field may not be null."),
    Message("Invalid value."),
    Message("Invalid input."),
    Message("Invalid input type."),
    Message("Unknown field."),
    Message("Not a valid string."),
    Message("Not a valid number."),
    Message("Not a valid integer."),
    Message("Number too large."),
    Message("Special numeric values (nan or infinity) are not permitted."),
    Message("Not a valid boolean."),
    Message("Not a valid date."),
    Message("Not a valid time."),
    Message("Not a valid datetime."),
    Message("Not a valid period of time."),
    Message("Not a valid list."),
    Message("Not a valid UUID."),
    Message("Not a valid URL."),
    Message("Not a valid email address."),
    Message("String does not match expected pattern."),
    Message("Shorter than minimum length {min}."),
    Message("Longer than maximum length {max}."),
    Message("Length must be between {min} and {max}."),
    Message("Length must be {equal}."),
    Message("Must be greater than or equal to {min} and less than or equal to {max}."),
    Message("Must be greater than or equal to {min}."),
    Message("Must be less than or equal to {max}."),
    Message("Must be greater than {min}."),
    Message("Must be less than {max}."),
    Message("Must be equal to {other}."),
    Message("Must be one of: {choices}."),
    Message("One or more of the choices you made was in: {values}."),
    Message("One or more of the choices you made was not in: {choices}."),
)

EMAIL_VALIDATOR: tuple[Message, ...] = (
    Message("An email address must have an @-sign."),
    Message("There must be something before the @-sign."),
    Message("There must be something after the @-sign."),
    Message("An email address cannot have two periods in a row."),
    Message("The part after the @-sign is not valid. It should have a period."),
)

WERKZEUG: tuple[Message, ...] = (
    Message("The browser (or proxy) sent a request that this server could not understand."),
    Message("The method is not allowed for the requested URL."),
    Message("The data value transmitted exceeds the capacity limit."),
    Message(
        "The server encountered an internal error and was unable to complete your request. "
        "Either the server is overloaded or there is an error in the application."
    ),
)

ZXCVBN: tuple[Message, ...] = (
    Message("A word by itself is easy to guess."),
    Message("Common names and surnames are easy to guess."),
    Message("Dates are often easy to guess."),
    Message("Names and surnames by themselves are easy to guess."),
    Message("Recent years are easy to guess."),
    Message('Repeats like "aaa" are easy to guess.'),
    Message('Repeats like "abcabcabc" are only slightly harder to guess than "abc".'),
    Message("Sequences like abc or 6543 are easy to guess."),
    Message("Short keyboard patterns are easy to guess."),
    Message("Straight rows of keys are easy to guess."),
    Message("This is a very common password."),
    Message("This is a top-100 common password."),
    Message("This is a top-10 common password."),
    Message("This is similar to a commonly used password."),
    Message("Add another word or two. Uncommon words are better."),
    Message("All-uppercase is almost as easy to guess as all-lowercase."),
    Message("Avoid dates and years that are associated with you."),
    Message("Avoid recent years."),
    Message("Avoid repeated words and characters."),
    Message("Avoid sequences."),
    Message("Avoid years that are associated with you."),
    Message("Capitalization doesn't help very much."),
    Message("No need for symbols, digits, or uppercase letters."),
    Message("Predictable substitutions like '@' instead of 'a' don't help very much."),
    Message("Reversed words aren't much harder to guess."),
    Message("Use a few words, avoid common phrases."),
    Message("Use a longer keyboard pattern with more turns."),
)
