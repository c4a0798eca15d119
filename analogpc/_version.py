"""The version of analogpc: written by the build from the tags of the repository, in a module that imports nothing else."""

try:
    from analogpc._built_version import __version__
except ImportError:
    # A checkout that was never built, or a source archive that is run as it is.
    __version__ = "0.1.0"

__all__ = ["__version__"]
