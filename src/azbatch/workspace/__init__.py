"""The private Batch environment of one workspace (an Azure resource group): designed, planned, applied, removed."""
