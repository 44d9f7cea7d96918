"""Runs `mst` and reads its answers."""

from .program import MstError, run

__all__ = ["MstError", "run"]
