"""``python -m tiltyard`` is the program ``tiltyard``."""

from tiltyard.cli import entry

if __name__ == "__main__":
    entry()
