"""The flows of an account, one module each, and the list of optional packages."""

from .default import DEFAULT_FLOWS

__all__ = ["DEFAULT_FLOWS"]
