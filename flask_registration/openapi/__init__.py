"""The API description: OpenAPI, made from the declarations that the views run on."""

from .serving import extra

__all__ = ["extra"]
