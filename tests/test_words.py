"""What people read follows the glossary, and the check of that finds what it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import words


def test_what_people_read_follows_the_glossary() -> None:
    found = words.findings()
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Prove the address first.", "Prove"),
        ("It is unproven.", "unproven"),
        ("Send a mail to the user.", "mail"),
        ("## Mails", "Mails"),
        ("A button to confirm the address.", "confirm the address"),
        ("The reply is empty.", "reply"),
        ("It answers 404.", "answers"),
        ("Not what was typed.", "what was typed"),
        ("Take the change\nback.", "Take the change back"),
        ("The account moved.", "account moved"),
        ("Undo the move.", "the move"),
        ("The link is good for a day.", "link is good"),
        ("It works for good.", "for good"),
        ("A copied cookie is dead.", "cookie is dead"),
        ("Keep an account out.", "Keep an account out"),
        ("It does not tell who has an account.", "tell who"),
        ("The owner is told.", "is told"),
        ('Any value, `"!"` say, is refused.', "`code` say"),
        ("Any value, say `1`.", ", say"),
        ("A list, with its cure.", "cure"),
        ("No client, whoever it is.", "whoever"),
        ("| `login` | nobody knows |", "nobody"),
        ("> Read one's own profile.", "one's"),
        ("The username is taken.", "is taken"),
        ("A taken address is reported.", "taken address"),
        ("- Four at the most.", "at the most"),
        ("A template which there is not.", "which there is"),
        ("```{note}\nIt shall work.\n```", "shall"),
        ("The colour of [the behaviour](page.md).", "colour"),
        ("Anonymise it.", "Anonymise"),
    ],
)
def test_a_banned_word_is_found_in_a_page(text: str, word: str) -> None:
    assert word in [finding.word for finding in words.in_page("docs/page.md", text)]


@pytest.mark.parametrize(
    "text",
    [
        "Send an e-mail through the mail server, with Flask-Mail.",
        "The `mail` of [a page](mail.md), or https://example.com/mail/reply.",
        "```python\nreply = mail  # nobody shall\n```",
        "A proof of work is a tamper-proof number.",
        "Set `Reply-To`: the header Reply-To is kept.",
        "The value is taken from the request, and back again.",
        "The settings say, for example, which one.",
        "Run it at the most recent version; repeat the password to confirm it.",
        "Choose a good password. The surface of the interface is flooring.",
        "Otherwise, exercise a promise. A hundred organisms advise.",
        "Keep them out of the log. Move the file to a folder.",
        "Confirm my e-mail address",
        "<!-- nobody -->",
    ],
)
def test_ordinary_english_is_not_found(text: str) -> None:
    assert words.in_page("docs/page.md", text) == []


def test_a_finding_names_the_line_and_what_to_write() -> None:
    (finding,) = words.in_page("docs/page.md", "# Title\n\nOne line,\nand a reply.\n")
    assert str(finding) == "docs/page.md:4: reply -> response, respond"


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("word " * 30, False),
        ("word " * 31, True),
        ("word " * 20 + "word. " + "Word " * 20, False),
        ("word " * 20 + "e.g. " + "word " * 20, True),
        ("- " + "word " * 20 + "\n- " + "word " * 20, False),
        ("| " + "word " * 20 + "| " + "word " * 20 + "|", False),
        ("# " + "word " * 20 + "\n" + "word " * 20, False),
        ("word " * 29 + "`" + "word " * 20 + "`", False),
        ("word " * 20 + "– " * 20, False),
        ("word\n" * 31, True),
    ],
)
def test_a_sentence_has_at_most_thirty_words(text: str, long: bool) -> None:
    assert bool(words.in_page("README.md", text)) is long
    assert words.in_page("CHANGELOG.md", text) == []


@pytest.mark.parametrize(
    ("source", "line", "word"),
    [
        ('def f():\n    """Return it.\n\n    Nobody knows."""\n', 4, "Nobody"),
        ("x = 1\n# The reply\ny = 2  # a journey\n", 3, "journey"),
        ("# take the change\n# back\n", 1, "take the change back"),
        ('raise ValueError(f"{name} will not " "do")\n', 1, "will not do"),
        ('Message("The link is good.")\n', 1, "link is good"),
        ("class Kit: ...\n", 1, "the name Kit"),
        ("def stamp_of_move(): ...\n", 1, "the name stamp_of_move"),
        ("def f(kit): ...\n", 1, "the name kit"),
        ("self._said = 1\n", 1, "the name _said"),
        ("class FieldTaken: ...\n", 1, "the name FieldTaken"),
        ("from a import b as reply\n", 1, "the name reply"),
        ("def recognise(): ...\n", 1, "the name recognise"),
    ],
)
def test_a_banned_word_is_found_in_a_module(source: str, line: int, word: str) -> None:
    found = words.in_source("flask_registration/a.py", source)
    assert (line, word) in [(finding.line, finding.word) for finding in found]


@pytest.mark.parametrize(
    "source",
    [
        'key = "mail"\nkey = "reply"\n',
        '"""Return the ``mail`` of :func:`reply`."""\n',
        "reply_to = mail = essay = skit = remove = return_value = 1\n",
        "value = other.reply(kit=1)\n",
    ],
)
def test_code_of_other_words_is_not_found(source: str) -> None:
    assert words.in_source("flask_registration/a.py", source) == []


def test_a_module_must_not_be_named_by_a_banned_word() -> None:
    (finding,) = words.in_source("flask_registration/nobody.py", "")
    assert finding.word == "the name nobody"


def test_a_template_is_read_as_its_reader_sees_it() -> None:
    text = (
        '<p title="nobody">\n{{ say("The link is good.") }}</p>\n'
        "{# a journey #}<style>door {}</style>\n{% if kit %}mails{% endif %}"
    )
    found = words.in_source("flask_registration/templates/a.html", text)
    expected = [(2, "link is good"), (3, "journey"), (4, "mails")]
    assert [(finding.line, finding.word) for finding in found] == expected


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("Nobody.\n")
    (tmp_path / "docs" / "clean.md").write_text("Fine.\n")
    return tmp_path


def test_every_page_is_read(root: Path) -> None:
    assert [finding.file for finding in words.findings(root)] == ["README.md"]
