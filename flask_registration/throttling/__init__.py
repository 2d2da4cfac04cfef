"""Rate limits, counted by the library ``limits``."""

from .throttles import extra

__all__ = ["extra"]
