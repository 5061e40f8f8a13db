"""Azure Resource Manager, emulated: resources by id, long-running operations, RBAC, locks, deny policies, providers."""
