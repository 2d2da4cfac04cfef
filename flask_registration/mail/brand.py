"""The logo and the color of a site, in e-mails and on the pages behind links."""

from __future__ import annotations

import re
from collections.abc import Mapping

Brand = Mapping[str, str | None]

#: The luminance from which on black has more contrast than white: at least 4.5:1 (WCAG 2.2).
MIDDLE = 0.179


def check_logo_url(url: str) -> None:
    """Refuse a URL that mail clients do not load, or whose file they do not show.

    :raises ValueError: with the end of a sentence that begins with "is 'x', but".
    """
    # It stands in a Content-Security-Policy too. A server sends no header beyond Latin-1.
    if not re.fullmatch(r"(?ai)https://[\w.-]+(:\d+)?/(?!.*\.svg)[\w.~!$&()*+=:@%/?-]+", url):
        raise ValueError(
            "must be the https URL of a PNG or JPEG file, "
            'for example "https://example.com/logo.png"'
        )


def check_color(color: str) -> None:
    """Refuse what is not a color.

    :raises ValueError: with the end of a sentence that begins with "is 'x', but".
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise ValueError('must be a color as #rrggbb, for example "#1d4ed8"')


def make_brand(logo_url: str | None, color: str) -> Brand:
    """Return what templates have as ``site_brand``.

    ``text_color`` is for text on the color, and ``link_color`` for text on white.
    """
    # The exponent comes close to sRGB.
    red, green, blue = ((int(color[n : n + 2], 16) / 255) ** 2.2 for n in (1, 3, 5))
    is_light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > MIDDLE
    return {
        "logo_url": logo_url,
        "color": color,
        "text_color": "#000000" if is_light else "#ffffff",
        "link_color": "#1f2937" if is_light else color,
    }
