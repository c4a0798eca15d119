"""The version of analogpc, written by the build from the repository tags. Imports nothing else."""

try:
    from analogpc._built_version import __version__
except ImportError:
    # A checkout that was never built, or an unpacked source archive.
    __version__ = "0.1.0"

__all__ = ["__version__"]
