"""A memory operating system for agent frameworks."""
