"""Data sources and the class-incremental streams made of them.

The class-incremental stream itself is in `simo_cl.streams.class_incremental`, which imports
Avalanche; everything exported here does without it.
"""

from simo_cl.streams.augmentation import AUGMENTATIONS, tensor_augmentation
from simo_cl.streams.data_set import (
    DataBrokenError,
    DataError,
    DataNotFoundError,
    DataSet,
    Images,
    UnknownDataError,
)
from simo_cl.streams.sources import (
    DataSource,
    DataStatus,
    check_data,
    data_source_names,
    default_root,
    fetch_data,
    load_data,
    register_data_source,
)

__all__ = [
    "AUGMENTATIONS",
    "DataBrokenError",
    "DataError",
    "DataNotFoundError",
    "DataSet",
    "DataSource",
    "DataStatus",
    "Images",
    "UnknownDataError",
    "check_data",
    "data_source_names",
    "default_root",
    "fetch_data",
    "load_data",
    "register_data_source",
    "tensor_augmentation",
]
