"""The logo and the color of a site, in e-mails and on the pages behind links."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import render_template

from flask_registration import DEFAULT_FLOWS, ConfigurationError
from flask_registration.cli.base import registration_cli
from flask_registration.flows import verification_redirects
from flask_registration.mail.rendering import FOLDER

from .site import Site, html_of
from .tables import each_row
from .world import SETTINGS, define_login

NewSite = Callable[..., Site]

LOGO = "https://cdn.example.com/static/logo.png?v=2&w=1"
COLOR = "#7c2d12"
BRAND = {"SITE_LOGO_URL": LOGO, "SITE_BRAND_COLOR": COLOR}

#: The grounds of text: the card of an e-mail, light and dark.
WHITE, DARK = "#ffffff", "#1f2937"


def sent(site: Site) -> str:
    """The HTML of an e-mail with a link."""
    site.register("alice")
    return html_of(site.read())


def button(html: str) -> tuple[str, str]:
    """The color of the button of an e-mail, and of its text."""
    ground, link = r'<td style="background-color: (#\w{6});', r'<a href="[^"]*" style="[^"]*'
    (found,) = re.findall(rf"{ground}[^>]*>\s*{link}(?<!-)color: (#\w{{6}})", html)
    return found[0], found[1]


def link_colors(html: str) -> tuple[str, str]:
    """The color of the bare link of an e-mail, and of links in dark mode."""
    (light,) = re.findall(r'<a class="link" dir="ltr" href="[^"]*" style="color: (#\w{6});"', html)
    (dark,) = re.findall(r"\.link { color: (#\w{6}) !important; }", html)
    return light, dark


def luminance(color: str) -> float:
    """The relative luminance of WCAG 2.2."""
    found = 0.0
    for start, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        share = int(color[start : start + 2], 16) / 255
        found += weight * (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return found


def contrast(one: str, other: str) -> float:
    """The contrast of two colors by WCAG 2.2."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


# In e-mails


def test_an_e_mail_has_the_logo_and_the_color(new_site: NewSite) -> None:
    html = sent(new_site(**BRAND, SITE_NAME="Ann & Bob"))
    (logo,) = re.findall(r"<img[^>]*>", html)
    assert f'src="{LOGO.replace("&", "&amp;")}"' in logo
    assert 'alt="Ann &amp; Bob"' in logo
    assert 'height="40"' in logo
    assert button(html) == (COLOR, "#ffffff")
    assert link_colors(html)[0] == COLOR


def test_without_the_settings_an_e_mail_has_the_usual_color_and_no_image(site: Site) -> None:
    html = sent(site)
    assert "<img" not in html
    assert button(html) == ("#1d4ed8", "#ffffff")
    assert link_colors(html)[0] == "#1d4ed8"


@each_row(
    "color",
    [
        "#000000",
        "#ffffff",
        "#FFDD00",
        "#1d4ed8",
        "#767676",
        "#757575",
        "#777777",
        "#ff0000",
        "#00ff00",
        "#0000ff",
        "#e11d48",
        "#0ea5e9",
        "#16a34a",
    ],
    anew=True,
)
def test_text_can_be_read_with_every_color(new_site: NewSite, color: str) -> None:
    html = sent(new_site(SITE_BRAND_COLOR=color))
    ground, text = button(html)
    light, dark = link_colors(html)
    assert ground == color
    assert contrast(ground, text) >= 4.5
    assert contrast(light, WHITE) >= 4.5
    assert f".card {{ background-color: {DARK} !important;" in html
    assert contrast(dark, DARK) >= 4.5


def test_every_pair_of_colors_of_an_e_mail_can_be_read_in_dark_mode(site: Site) -> None:
    html = sent(site)
    dark = dict(re.findall(r"\.(\w+) {[^}]*?(?<!-)color: (#\w{6}) !important", html))
    grounds = dict(re.findall(r"\.(\w+) {[^}]*?background-color: (#\w{6}) !important", html))
    assert dark.keys() >= {"text", "title", "quiet", "code", "link"}
    for name, color in dark.items():
        for ground in {grounds.get(name, grounds["card"]), grounds["ground"]}:
            assert contrast(color, ground) >= 4.5, (name, ground)
    assert '<meta name="color-scheme" content="light dark">' in html


def test_a_template_of_the_application_has_the_color_too(new_site: NewSite, tmp_path: Path) -> None:
    """Its button is a macro that is imported without the context of the template."""
    folder = tmp_path / "registration" / "register"
    folder.mkdir(parents=True)
    (folder / "body.html").write_text(
        '{% from "registration/button.html" import button %}'
        "{{ button(verification_url, 'Go') }}{{ site_brand.logo_url }} {{ site_brand.text_color }}"
    )
    html = sent(new_site(**BRAND, template_folder=str(tmp_path)))
    assert button(html) == (COLOR, "#ffffff")
    assert html.rstrip().endswith(f"{LOGO.replace('&', '&amp;')} #ffffff")


def test_a_renderer_of_the_application_receives_the_brand(new_site: NewSite) -> None:
    def render(config: Any, context: Any, **kwargs: Any) -> tuple[str, str, str]:
        return "Hello", context["verification_url"], render_template(config["html_body"], **context)

    html = sent(new_site(**BRAND, VERIFICATION_TEMPLATE_RENDERER=render))
    assert html.count("<img") == 1


def test_every_e_mail_says_why_the_reader_receives_it(new_site: NewSite, tmp_path: Path) -> None:
    """In both parts."""
    folders = {path.parent.name for path in FOLDER.glob("registration/*/subject.txt")}
    for name, grace in (("with", SETTINGS["DELETION_GRACE"]), ("without", None)):
        site = new_site(login_model=define_login, **{**SETTINGS, "DELETION_GRACE": grace})
        folder = tmp_path / name
        result = site.app.test_cli_runner().invoke(registration_cli, ["preview-mail", str(folder)])
        assert result.exit_code == 0, result.output
        for path in folder.iterdir():
            words = " ".join(path.read_text("utf-8-sig").split())
            assert path.stem == "index" or "You received this e-mail" in words, path
            folders.discard(path.stem)
    assert folders == set()


# On the pages behind links


def test_a_page_has_the_logo_and_the_color(new_site: NewSite) -> None:
    site = new_site(**BRAND, flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    client = site.app.test_client()
    page = client.get("/accounts/verify-registration/?user_id=1&timestamp=1&signature=x")
    (logo,) = re.findall(r"<img[^>]*>", page.text)
    assert f'src="{LOGO.replace("&", "&amp;")}"' in logo
    assert 'referrerpolicy="no-referrer"' in logo  # the URL of the page has a secret
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert "img-src https://cdn.example.com/static/logo.png" in policy
    stylesheet = client.get("/accounts/pages.css").text
    assert f"--brand: {COLOR}; --on-brand: #ffffff;" in stylesheet
    assert "background: var(--brand)" in stylesheet


def test_without_a_logo_a_page_loads_no_image(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    page = site.app.test_client().get("/accounts/verify-registration/")
    assert "<img" not in page.text
    assert "img-src 'none'" in page.headers["Content-Security-Policy"].split("; ")


# The values

A_LOGO = 'the https URL of a PNG or JPEG file, for example "https://example.com/logo.png"'
A_COLOR = 'a color as #rrggbb, for example "#1d4ed8"'


@each_row(
    ("name", "value", "hint"),
    [
        ("SITE_LOGO_URL", "http://example.com/logo.png", A_LOGO),
        ("SITE_LOGO_URL", "/static/logo.png", A_LOGO),
        ("SITE_LOGO_URL", "https://example.com/logo.png' data:", A_LOGO),
        ("SITE_LOGO_URL", "https://example.com/;script-src/logo.png", A_LOGO),
        ("SITE_LOGO_URL", "https://example.com/logo.SVG?v=1", A_LOGO),
        ("SITE_LOGO_URL", "https://example.com/логотип.png", A_LOGO),
        ("SITE_LOGO_URL", "https://example.com/lo\x00go.png", A_LOGO),
        ("SITE_BRAND_COLOR", "red", A_COLOR),
        ("SITE_BRAND_COLOR", "#fff", A_COLOR),
        ("SITE_BRAND_COLOR", "#1d4ed8; color: red", A_COLOR),
        ("SITE_BRAND_COLOR", None, "a string"),
    ],
)
def test_a_wrong_value_names_its_fix(
    new_site: NewSite, name: str, value: str | None, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(**{name: value})
    (finding,) = caught.value.findings
    assert (finding.id, finding.subject) == ("registration.E001", f"REGISTRATION_{name}")
    assert f"must be {hint}" in finding.problem
