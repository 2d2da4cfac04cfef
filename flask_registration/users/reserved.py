"""Usernames that no client may choose."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError

from ..i18n.messages import Message
from .identifiers import username_key

NAMES = (
    # Mailboxes of roles: an e-mail to the name at the site's domain must reach them (RFC 2142).
    """
    abuse ftp hostmaster info marketing news noc postmaster sales security support usenet uucp
    webmaster www
    """
    # Mailboxes by which certification authorities verify a domain (CA/Browser Forum Baseline
    # Requirements, 3.2.2.4.4, and what they accepted before), or that send automatic e-mail.
    """
    admin administrator bounce bounces daemon mailer-daemon no-reply no_reply nobody noreply
    root ssladmin ssladministrator sslwebmaster sysadmin
    """
    # People who seem to speak for the site.
    """
    billing contact customer-service customerservice feedback help helpdesk legal mod moderator
    moderators official payments press privacy staff superuser system team
    """
    # Hosts that programs look up, for a site with a host for each user (RFC 6761, RFC 8461,
    # proxies, mail clients).
    """
    autoconfig autodiscover broadcasthost imap isatap localdomain localhost mail mta-sts mx ns
    ns0 ns1 ns2 ns3 ns4 pop pop3 smtp wpad
    """
    # Files that programs look up, for a site with a page for each user (RFC 8615, RFC 9309,
    # RFC 9116, browsers).
    """
    .htaccess .well-known ads.txt apple-touch-icon.png crossdomain.xml favicon.ico humans.txt
    manifest.json robots.txt security.txt sitemap.xml
    """
    # Paths that applications have, for the same sites.
    """
    about account accounts api app auth blog cdn css dashboard docs download downloads error
    errors faq forum home images img index js login logout media oauth openid password pricing
    privacy-policy profile register registration reset rss search settings shop sign-in
    sign-out sign-up signin signout signup sso static status store subscribe terms
    terms-of-service tos unsubscribe upload uploads user username users verify web
    """
    # Words that programs take for no value, for no user, or for the user of a request.
    """
    anonymous everyone false guest me myself nil none null self true undefined unknown you
    """
)

#: In the form in which usernames are compared.
RESERVED = frozenset(NAMES.split())


def reserved_names(username: str, **_: Any) -> None:
    """Refuse a reserved username, in any case and with compatibility characters.

    :raises marshmallow.ValidationError: it is reserved.
    """
    if username_key(username) in RESERVED:
        message = Message("This username is reserved. Choose another one.", code="reserved")
        raise ValidationError(message)
