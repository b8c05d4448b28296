"""Raw data sets into HumanData files: one module a data set, listed in `table.py`, run by `run.py`."""
