"""The resource providers, a module each; `arm.registry` puts them together."""
