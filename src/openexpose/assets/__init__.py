"""The data tree: which files there are, where they lie, what needs them. The rest of the package calls `find`."""

from openexpose.assets.find import data_root as data_root
from openexpose.assets.find import entry_of as entry_of
from openexpose.assets.find import find as find
from openexpose.assets.find import locate as locate
from openexpose.assets.tree import COMMANDS as COMMANDS
from openexpose.assets.tree import TREE as TREE
from openexpose.assets.tree import Entry as Entry
from openexpose.assets.tree import Source as Source
