"""What `fastmlp cache` does."""

from __future__ import annotations

from argparse import Namespace

from .console import Console

__all__ = ["cache", "size"]


def size(n_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{n_bytes / 1e6:.1f} MB"


def cache(args: Namespace, console: Console) -> int:
    """Print what the folder of compiled code holds, or remove it."""
    from ..kernels.jit.cache import cache_folder
    from ..kernels.jit.old_caches import cache_folders, remove

    if args.old and not args.clear:
        raise ValueError("--old: expected --clear beside it")
    present = cache_folder()
    if present is None:
        console.say("no cache folder can be written, FASTMLP_CACHE_DIR names another")
        return 0
    found = cache_folders(present.parent)
    if args.clear:
        gone = [folder for folder in found if not (args.old and folder.path == present)]
        remove(gone)
        console.say(f"removed: {len(gone)} caches, {size(sum(f.n_bytes for f in gone))}")
        return 0
    console.say(f"{present.parent}: {size(sum(folder.n_bytes for folder in found))}")
    for folder in found:
        whose = "this version" if folder.path == present else "another version"
        console.say(f"{folder.path.name}  {size(folder.n_bytes):>9}  {whose}")
    return 0
