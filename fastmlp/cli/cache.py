"""What `fastmlp cache` does."""

from __future__ import annotations

import shutil
from argparse import Namespace

from .console import Console

__all__ = ["cache", "size"]


def size(n_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{n_bytes / 1e6:.1f} MB"


def cache(args: Namespace, console: Console) -> int:
    """Print what the folder of compiled code holds, or remove it."""
    from ..kernels.jit.cache import cache_folder, why_none
    from ..kernels.jit.old_caches import cache_folders

    if args.old and not args.clear:
        raise ValueError("--old: expected --clear beside it")
    present = cache_folder()
    if present is None:
        console.say(why_none())
        return 0
    found = cache_folders(present.parent)
    if args.clear:
        if args.old:
            found.pop(present, None)
        for folder in found:  # who uses one compiles anew
            shutil.rmtree(folder, ignore_errors=True)
        console.say(f"removed: {len(found)} caches, {size(sum(found.values()))}")
        return 0
    console.say(f"{present.parent}: {size(sum(found.values()))}")
    for folder, n_bytes in found.items():
        whose = "this version" if folder == present else "another version"
        console.say(f"{folder.name}  {size(n_bytes):>9}  {whose}")
    return 0
