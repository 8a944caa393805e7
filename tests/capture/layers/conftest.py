"""The command line in a folder of its own, as tests of the app have it."""

from tests.app.conftest import drpt

__all__ = ["drpt"]
