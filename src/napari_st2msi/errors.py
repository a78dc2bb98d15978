"""The errors this package raises on purpose, each in the user's words.

A message says what is wrong and what to do about it, in one or two sentences. The docks show it as
it is, the command line prints it and exits with code 2. Anything else that escapes is a bug and keeps
its traceback.
"""


class St2msiError(Exception):
    """Base of every error that is the input's or the machine's fault and not the program's."""


class FileProblem(St2msiError):
    """A file is missing, truncated, unreadable, refused for safety, or cannot be written."""


class DataProblem(St2msiError):
    """The content of a table or image cannot be used: NaN, duplicates, wrong units, nothing left."""


class GeometryProblem(St2msiError):
    """Positions do not fit together: no overlap, not registered, unknown size of a spot or pixel."""


class ModelProblem(St2msiError):
    """A model cannot be fitted, loaded or applied: too few spots, too few shared genes, wrong version."""


class RecipeProblem(St2msiError):
    """A choice of a run is out of range or does not fit the data."""
