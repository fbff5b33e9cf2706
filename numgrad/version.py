"""The version, as ``torch.version`` has it."""

from . import __version__ as __version__

cuda = None  # what the package was built with: nothing was built
hip = None
xpu = None
debug = False
git_version = "unknown"
