"""The API description: OpenAPI, from the declarations that the views run on."""

from .serving import Description, OpenAPISettings, check, serve

__all__ = ["Description", "OpenAPISettings", "check", "serve"]
