"""Data sources and the class-incremental streams made of them.

Nothing exported here imports torch before data are loaded. The streams themselves are in
`simo_cl.streams.class_incremental`, which imports Avalanche.
"""

from simo_cl.streams.augmentation_names import AUGMENTATIONS, Augmentation, check_augmentations
from simo_cl.streams.data_set import (
    DataBrokenError,
    DataError,
    DataNotFoundError,
    DataSet,
    Images,
    UnknownDataError,
)
from simo_cl.streams.sources import (
    DataStatus,
    check_data,
    data_root,
    data_source_names,
    fetch_data,
    load_data,
    register_data_source,
)

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "DataBrokenError",
    "DataError",
    "DataNotFoundError",
    "DataSet",
    "DataStatus",
    "Images",
    "UnknownDataError",
    "check_augmentations",
    "check_data",
    "data_root",
    "data_source_names",
    "fetch_data",
    "load_data",
    "register_data_source",
]
