"""Compiled programs as files: saved, checked, loaded and served without a pickle and without a key."""
