"""Programs: the DSPy signatures that tasks ask to be filled in."""
