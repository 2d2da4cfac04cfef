"""Flows and endpoints, request bodies, schemas and responses."""
