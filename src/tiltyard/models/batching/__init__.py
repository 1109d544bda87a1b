"""Many requests through one local model at once: a running batch that shares prompt prefixes."""
