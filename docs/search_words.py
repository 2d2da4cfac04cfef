"""The words of the search: readers type "email" and "mfa" where a page has "e-mail" and "2FA".

``conf.py`` adds this language to Sphinx, which builds the index and passes the tables to the
browser, where ``search_scorer.js`` uses them.
"""

from __future__ import annotations

import json
import re

from sphinx.search import SearchLanguage
from sphinx.search.en import SearchEnglish

#: One word for each spelling of it, as regular expressions that Python and JavaScript read alike.
SPELLINGS = {
    "email": r"e-?mail(?:s|ed|ing)?",
    "signup": r"sign(?:s|ed|ing)?[ -]?ups?",
    "login": r"(?:log(?:s|ged|ging)?|sign(?:s|ed|ing)?)[ -]?ins?",
    "logout": r"(?:log(?:s|ged|ging)?|sign(?:s|ed|ing)?)[ -]?outs?",
    "username": r"user[ -]names?",
    "frontend": r"front[ -]ends?",
    "backend": r"back[ -]ends?",
    "passwordless": r"without (?:a )?passwords?",
    "ratelimit": r"rate[ -]?limit(?:s|ed|ing)?",
    "safelinks": r"safe[ -]?links?",
    "2fa": r"two[ -]factor|second factors?|mfa|multi[ -]?factor",
    "nextjs": r"next[. ]?js",
    "haveibeenpwned": r"have i been pwned|hibp",
}

#: Words that readers use for the same thing. Another word of the group counts, for less.
SYNONYMS = [
    "confirm confirmation activate activation verify verification",
    "forgot forget forgotten lost reset recover",
    "delete remove erase close",
    "signup register registration",
    "login authentication authenticate",
    "2fa totp otp authenticator",
    "ban block disable deactivate suspend",
    "disable off switch",
    "customize custom change override own",
    "throttle limit ratelimit",
    "signal hook webhook callback receiver",
    "cli command terminal shell console",
    "refresh renew rotate",
    "notice notification alert",
    "device browser",
    "test pytest fixture",
    "translate translation i18n localization language",
    "swagger openapi",
    "oauth social google",
    "passkey webauthn",
    "role permission authorization",
    "captcha recaptcha spam bot",
    "administrator admin",
    "expired expire expires timeout lifetime",
    "react vue angular svelte nextjs spa",
    "android ios flutter mobile",
    "database db sql",
    "error exception",
    "compare comparison alternative versus",
    "host hosting deploy deployment production",
    "container docker",
    "field column attribute",
]

#: Words of a question that say nothing about its subject.
QUESTION_WORDS = (
    "how what why when which who can could do does did should would i my me we our you your"
    " use using get way after from without have has flask app application"
)

_ANY = re.compile("|".join(rf"\b(?:{spelling})\b" for spelling in SPELLINGS.values()), re.I)


class SearchWords(SearchEnglish):
    """English, with the spellings and synonyms of the field."""

    js_splitter_code = (
        f"var SPELLINGS = {json.dumps(SPELLINGS)};\n"
        f"var SYNONYMS = {json.dumps(SYNONYMS)};\n"
        f"var QUESTION_WORDS = {json.dumps(QUESTION_WORDS)};\n"
        """\
var splitQuery = (query) => {
  if (!Search.places && Search.hasIndex()) rankPages();
  for (const [word, spelling] of Object.entries(SPELLINGS)) {
    query = query.replace(new RegExp(`\\\\b(?:${spelling})\\\\b`, "gi"), word);
  }
  splitQuery.words = query.split(/[^\\p{Letter}\\p{Number}_]+/gu).filter((word) => word);
  return splitQuery.words;
};
"""
    )

    def split(self, input: str) -> list[str]:
        """Return the words of a text as they are, and the one word for each spelling in it."""
        words = SearchLanguage.split(self, input)
        if _ANY.search(input):
            for word, spelling in SPELLINGS.items():
                if re.search(rf"\b(?:{spelling})\b", input, re.I):
                    words.append(word)
        return words
