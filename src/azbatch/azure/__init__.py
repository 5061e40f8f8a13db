"""The only importer of Azure's SDKs: credentials, Batch, Blob. No decisions are made here."""
