"""The native families, in order: a family may import only those before it."""
