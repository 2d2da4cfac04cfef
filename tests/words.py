"""Report the words that the project does not use, and sentences that are too long.

Run ``python -m tests.words``. It reads the pages and everything that people read in the package:
docstrings, comments, messages, templates and names.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
MAX_WORDS = 30

_ARE = "(?:is|are|was|were|be|been|being|not|already|never)"
_LINK = "(?:(?:cookie|link|login|session|token)s?|it|they)"
_NO_EXAMPLE = r"(?:can|errors|may|models|must|not|settings|they|to|would)\b"
_OTHER_TAKEN = r"(?:as|away|back|by|care|for|from|in|into|off|on|out|over|round|to|within)\b"
_SPELLING = (
    r"\w*(?:anonym|author|capital|central|custom|general|initial|maxim|minim|normal|optim|organ"
    r"|real|recogn|serial|special|standard|summar|synchron)is(?:e[srd]?|able|ing|ations?)"
    r"|\w*(?:behavio|colo|favo|hono|neighbo)ur\w*|catalogues?|centre[sd]?|licence[sd]?"
)
_PROOF = r"\b(?:un)?pro(?:v(?:e|es|ed|en|ing)|ofs?)\b(?! of (?:work|possession|concept))"
_CONFIRM = r"\bconfirm(?:s|ed|ing)?\b(?! (?:my|your)\b)(?: [\w-]+){0,2}"  # right in texts for users
_MAIL_COMPOUNDS = r"(?:client|host|program|provider|scanner|server)s?\b"

#: What prose does not say, as regular expressions, and what to write. A space is any white space.
WORDS = {
    rf"(?<!-){_PROOF}": "verify, verification (in general: show)",
    rf"{_CONFIRM} (?:account|address|registration)": "verify",
    r"\b(?:is|are|was|were|never) confirmed\b|\bunconfirmed\b": "verified",
    rf"(?<![\w./@-])mails?(?![\w/-]|\.\w| {_MAIL_COMPOUNDS})": "e-mail, send",
    r"(?<![\w-])(?<!office\s)repl(?:y|ies|ied|ying)\b(?!-to)": "response, respond",
    r"\banswer(?:s|ed|ing)?\b": "response, respond, return",
    r"\bwhat (?:\w+ ){1,3}typed\b|\bwas typed\b": "request body, field, value",
    r"\bt(?:ake|akes|aken|aking|ook) (?:[\w-]+ ){0,6}?back\b": "undo",
    r"\bmov(?:e|es|ed|ing) (?:back|there|(?:an?|the) account)\b": "change the e-mail address",
    r"\bmov(?:e|es|ed|ing) (?:\w+ ){0,3}to (?:[\w-]+ ){0,3}address": "change the e-mail address",
    r"\b(?:account|owner)s? (?:\w+ )?(?:move[sd]?|moving)\b": "change the e-mail address",
    r"\b(?:an?|the|no|last|next|recent) moves?\b": "e-mail change",
    rf"\b{_LINK} (?:(?:{_ARE}|stays?) )?good\b(?! (?:enough|idea|practice)\b)": "valid",
    rf"\b{_ARE} (?:good (?:for|once|until)|no good)\b(?! idea)": "valid, expires in",
    r"\bfor good\b": "permanently",
    rf"\b{_LINK} {_ARE} dead\b|\bdead {_LINK}\b": "invalid, expired, revoked",
    rf"\b{_LINK} (?:dies?|died|lives?)\b(?! (?:at|in)\b)": "expire, become invalid, stay valid",
    r"\bd(?:ie|ies|ied) with\b|\bworth nothing\b": "become invalid, invalid",
    r"\bresum(?:e|es|ed|ing)\b": "reactivate",
    r"\bke(?:ep|eps|pt|eping) (?:\w+ ){0,2}out\b(?! of)": "suspend, block",
    r"\bshut(?:s|ting)? (?:\w+ ){0,3}out\b": "suspend, lock out, sign out",
    r"\b(?:tells?|telling|told) (?:who|whether)\b": "reveal, show",
    rf"\b{_ARE} told\b": "receive, notify, report",
    r", say\b(?! (?:so|it|what|which|who|how|when|whether|why|that)\b)": "for example, such as",
    rf"(?<!\S)(?!{_NO_EXAMPLE})[^\s,]+ say(?=[,.;)])": "for example, such as",
    r"\b(?:is|are|was|were|be|been) said\b": "translate, state",
    r"\btexts\b": "messages, strings",
    r"\bcur(?:e|es|ed)\b|\bmend(?:s|ed|ing)?\b": "hint, fix",
    r"\b(?:rooms?|floors?|houses?|doors?)\b": "module, package, layer, baseline, API",
    r"\b(?:the|a|its|public) faces?\b": "public API",
    r"\bjourneys?\b": "flow",
    r"\bkits?\b": "registration state",
    r"\bask(?:s|ed|ing)? (?:again|too often)\b": "re-authentication; rate limit",
    r"\bhow often (?:\w+ ){1,4}asks?\b": "rate limit",
    r"\bdecoys?\b|\bpretend(?:s|ed|ing)?\b": "timing equalization, dummy",
    rf"\b{_ARE} taken\b(?! {_OTHER_TAKEN})": "already in use, duplicate",
    r"\btaken (?:e-mail )?(?:address|login|name|one|username|value)(?:e?s)?\b": "duplicate",
    r"\bat odds\b": "conflict",
    r"\b(?:somebody|nobody)\b": "user, client, attacker, someone, no one",
    r"\bwho(?:m|so)?ever\b": "user, client, anyone who",
    r"\bone's\b": "the current user's, your",
    r"\bthie(?:f|ves)\b|\bstrangers?\b": "attacker, anonymous client",
    r"\bat the (?:most|least)\b(?! (?:common|likely|recent)\b)": "at most, at least",
    r"\bwhich there (?:is|are|was|were)\b|\bha(?:s|ve) not(?=[.,:;)])": "not found, has no",
    r"\bwill not do\b": "is invalid",
    r"\bfor want of\b": "because … is missing",
    r"\bshall\b": "must, will, should",
    r"\bl(?:end|ends|ent)\b": "add",
    r"\brefusals?\b|\bcomplain(?:s|ts?|ed)?\b": "error, error response",
    r"\bholes?\b": "vulnerability",
    rf"\b(?:{_SPELLING})\b": "the American spelling",
}

#: The same for the parts of names in code, in lower case and with underscores.
NAMES = {
    "kits?": "state, RegistrationState",
    "nobody|somebody|whoever": "placeholder, dummy_user",
    "decoys?|pretend": "dummy, dry_run",
    "cures?|mends?": "hint, fix",
    "journeys?": "flow",
    "rooms?|floors?|houses?|doors?|faces?": "module, layer, group",
    "prove[sdn]?|proving|proofs?|unproven": "verify, verification, verified",
    "move[sd]?|moving": "email_change",
    "says?|said|texts": "translate, gettext, messages",
    "asking": "request, current_user",
    "bury|put_back": "mark_dead, requeue",
    "spell|spelled": "format_value",
    "complaints?": "errors, messages",
    "refusals?": "error_responses",
    "repl(?:y|ies)(?!_to)|answers?|answered": "response",
    "taken": "duplicate, used",
    "resume[sd]?": "reactivate",
    "tells?|told": "record, signal, handle, reveal",
    "(?<=^_)turns?(?=_$)": "semaphore",
    "lends?|adopt": "add, wrap",
    "lineage|stamp_mark": "stamp_prefix, stamp_digest",
    "settled?|gave_way|is_again|start_over": "commit, is_retry, is_serialization_failure, reset",
    "(?<=^_)leave(?=_$)|try_to|hand_on|hand_over": "deliver, send_safely, submit",
    "ours|beside|unsettable": "match, sibling_url, required_columns",
    "thief|strangers?": "attacker, anonymous",
    _SPELLING: "the American spelling",
}

#: Names that are right where they are: the public API, and what applications have stored.
ALLOWED_NAMES = {
    ("flask_registration/testing/accounts.py", "move"),  # the clock for tests is moved
    ("flask_registration/testing/accounts.py", "assert_uniform_answers"),  # public
    ("flask_registration/auth/tokens.py", "stamp_mark"),  # a column of LoginMixin
    ("flask_registration/flows/register.py", "email_taken_email"),  # by the e-mail's name
    ("flask_registration/flows/register_email.py", "email_change_taken_email"),  # the same
    ("flask_registration/flows/sign_up.py", "sign_up_taken_email"),  # the same
    ("flask_registration/flows/invitations/base.py", "invitation_taken_email"),  # the same
    ("flask_registration/gate.py", "ProofOfWork"),  # the term of the field
    ("flask_registration/security_log.py", "REGISTRATION_TAKEN"),  # by the event's name
    ("flask_registration/settings.py", "beside"),  # a keyword of setting()
}

#: Words that are right where they are: users read these texts, and "confirm" is theirs.
ALLOWED_WORDS = {
    ("flask_registration/flows/verification_redirects.py", "is confirmed"),
    ("flask_registration/templates/registration/email_taken/body.html", "never confirmed"),
    ("flask_registration/templates/registration/email_taken/body.txt", "never confirmed"),
    ("flask_registration/users/reserved.py", "mail"),  # a reserved name
    ("flask_registration/users/reserved.py", "nobody"),  # the same
}

Piece = tuple[int, str]  # the number of its first line, and a text


class Finding(NamedTuple):
    """A word, name or sentence to change, and where it is."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word} -> {self.instead}"


_PROSE = [(re.compile(key.replace(" ", r"\s+"), re.I), WORDS[key]) for key in WORDS]
_NAMES = [(re.compile(f"(?<=_)(?:{key})(?=_)"), NAMES[key]) for key in NAMES]
_FENCE = re.compile(r"^ *(`{3,}|~{3,}|:{3,}) *(\{(?:note|tip|warning|important|admonition)\})?")
_URL = r"<?https?://[^\s>)]+"
_JINJA = r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}"
_BLOCK = re.compile(r"^\s*(?:#|[-*+] |\d+[.)] |: |\||>|$)")
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)(?<!\bNo)[.!?][)\"'”*_]*(?:\s+|$)")


def _replace(pattern: str, by: str, text: str) -> str:
    """Return the text with other parts in place of the matches, and with as many lines."""
    return re.sub(pattern, lambda match: by + "\n" * match[0].count("\n"), text, flags=re.S)


def _without_code(text: str) -> str:
    return _replace(r"(`+)(?!`).+?(?<!`)\1(?!`)", "`code`", text)


def markdown(text: str) -> Iterator[Piece]:
    """Return each paragraph, heading, list item and table cell, without code and link targets."""
    fence, skipped = "", False
    block: list[str] = []
    text = _replace(r"<!--.*?-->", "", text)
    for number, line in enumerate([*text.splitlines(), ""], 1):
        marker = _FENCE.match(line)
        if marker and (not fence or marker[1].startswith(fence)):
            skipped = not fence and not marker[2]
            fence, line = "" if fence else marker[1], ""
        elif skipped:
            line = ""
        if block and (block[0].startswith("#") or _BLOCK.match(line)):
            prose = _without_code("\n".join(block))
            prose = re.sub(r"\]\([^)]*\)|!?\[|\]", "", _replace(_URL, "URL", prose))
            row = prose.lstrip().startswith("|")
            for cell in re.split(r"(?<!\\)\|", prose) if row else [prose]:
                yield number - len(block), _replace(r"<[^<>]+>", " ", cell)
            block = []
        if line.strip():
            block.append(line)


def _string(node: ast.expr) -> str:
    if not isinstance(node, ast.Constant):
        return "`code`"
    return node.value if isinstance(node.value, str) else ""


def python(text: str) -> Iterator[Piece]:
    """Return the docstrings, comments and messages of a module."""
    tree = ast.parse(text)
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {part for node in joined for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, (ast.JoinedStr, ast.Constant)) and node not in parts:
            values = node.values if isinstance(node, ast.JoinedStr) else [node]
            string = "".join(_string(value) for value in values)
            if re.search(r"\s", string) and re.search("[A-Za-z]", string):
                yield node.lineno, _without_code(string)
    comments: list[Piece] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, comment = token.start[0], token.string.lstrip("#: ")
            if comments and comments[-1][0] + comments[-1][1].count("\n") == line - 1:
                line, comment = comments[-1][0], f"{comments.pop()[1]}\n{comment}"
            comments.append((line, comment))
    yield from ((line, _without_code(comment)) for line, comment in comments)


def template(text: str) -> Iterator[Piece]:
    """Return what a template shows, its messages and its comments."""
    for code in re.finditer(_JINJA, text, re.S):
        line = text.count("\n", 0, code.start()) + 1
        is_comment = code[0].startswith("{#")
        for string in [code[0]] if is_comment else re.findall(r'"([^"]*\s[^"]*)"', code[0]):
            yield line, string
    text = _replace(_JINJA, "`code`", text)
    yield 1, _replace(r"<(style|script)\b.*?</\1>|<[^<>]+>", " ", text)


def _names(text: str) -> Iterator[Piece]:
    """Return the names that a module defines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.ExceptHandler, ast.alias)):
            name = node.name if isinstance(node, ast.ExceptHandler) else node.asname
            yield node.lineno, name or ""


def banned(file: str, pieces: Iterable[Piece]) -> Iterator[Finding]:
    """Return the banned words in texts."""
    for line, text in pieces:
        for pattern, instead in _PROSE:
            for match in pattern.finditer(text):
                word = " ".join(match[0].split())
                if (file, word) in ALLOWED_WORDS:
                    continue
                yield Finding(file, line + text.count("\n", 0, match.start()), word, instead)


def banned_names(file: str, names: Iterable[Piece]) -> Iterator[Finding]:
    """Return the names that contain a banned word."""
    for line, name in names:
        parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
        for pattern, instead in _NAMES:
            if pattern.search(f"_{parts}_") and (file, name) not in ALLOWED_NAMES:
                yield Finding(file, line, f"the name {name}", instead)


def long_sentences(file: str, pieces: Iterable[Piece]) -> Iterator[Finding]:
    """Return the sentences of more than ``MAX_WORDS`` words; a code span is one word."""
    for line, text in pieces:
        start = 0
        for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
            words = re.findall(r"\S*\w\S*", text[start:end])
            if len(words) > MAX_WORDS:
                first = line + text.count("\n", 0, start)
                word = f'"{" ".join(words[:5])} …" has {len(words)} words'
                yield Finding(file, first, word, f"sentences of at most {MAX_WORDS} words")
            start = end


def in_page(file: str, text: str) -> list[Finding]:
    """Return the findings of a Markdown page."""
    pieces = list(markdown(text))
    found = list(banned(file, pieces))
    if file == "README.md" or file.startswith("docs/"):
        found += long_sentences(file, pieces)
    return sorted(found)


def in_source(file: str, text: str) -> list[Finding]:
    """Return the findings of a module or a template of the package."""
    if not file.endswith(".py"):
        return sorted(banned(file, template(text)))
    names = [(1, Path(file).stem), *_names(text)]
    return sorted({*banned(file, python(text)), *banned_names(file, names)})


def _pages(root: Path) -> dict[str, Path]:
    paths = [*root.glob("*.md"), *root.glob("docs/*.md")]
    return {path.relative_to(root).as_posix(): path for path in sorted(paths)}


def _sources(root: Path) -> dict[str, Path]:
    package = root / "flask_registration"
    paths = [*package.rglob("*.py"), *package.glob("templates/**/*.*")]
    return {path.relative_to(root).as_posix(): path for path in sorted(paths)}


def findings(root: Path = ROOT) -> list[Finding]:
    """Return everything to change."""
    found = []
    for file, path in _pages(root).items():
        found += in_page(file, path.read_text())
    for file, path in _sources(root).items():
        found += in_source(file, path.read_text())
    return found


def main(show: Callable[[Finding], object] = print) -> int:
    """Print the findings; return the exit status."""
    found = findings()
    for finding in found:
        show(finding)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
