"""Readers of files nobody vouches for: nothing in a file is run, and no small file can take much memory or time."""

from openexpose.readers.files import peek_safetensors as peek_safetensors
from openexpose.readers.files import read_safetensors as read_safetensors
from openexpose.readers.files import sha256_of as sha256_of
from openexpose.readers.files import write_atomically as write_atomically
from openexpose.readers.files import write_safetensors as write_safetensors
from openexpose.readers.npy import peek_npy as peek_npy
from openexpose.readers.npy import read_npy as read_npy
from openexpose.readers.npz import Npz as Npz
from openexpose.readers.npz import put_npz as put_npz
from openexpose.readers.npz import read_npz as read_npz
from openexpose.readers.npz import write_npz as write_npz
from openexpose.readers.unpickle import Record as Record
from openexpose.readers.unpickle import SparseMatrix as SparseMatrix
from openexpose.readers.unpickle import parse_pickle as parse_pickle
from openexpose.readers.unpickle import read_pickle as read_pickle
