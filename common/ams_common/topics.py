"""The Kafka topics. All messages are protobuf; the type of each stands beside its name."""

USAGE_EVENTS = "usage.events"  # ams.usage.v1.UsageEvent
USAGE_AGGREGATED = "usage.aggregated"  # ams.usage.v1.UsageDelta
IDENTITY_EVENTS = "identity.events"  # ams.identity.v1.IdentityEvent
CATALOG_EVENTS = "catalog.events"  # ams.catalog.v1.CatalogEvent
REGISTRY_EVENTS = "registry.events"  # ams.registry.v1.RegistryEvent
AUDIT_EVENTS = "audit.events"  # ams.audit.v1.AuditRecord
