"""The API description: OpenAPI, made from the declarations that the views run on."""

from .serving import Description, extra

__all__ = ["Description", "extra"]
