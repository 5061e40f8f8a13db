"""The Batch data plane on the wire: routes, bodies, OData, errors, authentication."""
