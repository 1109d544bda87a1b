"""Which version of the user's own files a run was started from."""

import subprocess
from pathlib import Path


def git_commit(folder: Path) -> str:
    """The commit checked out in a folder, with ``+changes`` when tracked files differ from it.

    Returns:
        ``""`` where there is no git repository, or no git.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
