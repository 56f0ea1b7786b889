"""OpenAPI documents of merchants: read with suspicion, checked, and shown.

`python -m catalog_svc.openapi` examines one in a process of its own; `examining` is what starts it.
"""
