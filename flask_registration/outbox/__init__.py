"""Queue e-mails in the database."""

from .store import extra

__all__ = ["extra"]
