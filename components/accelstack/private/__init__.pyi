from .cluster import Cluster, ClusterArgs
from .images import ImageRegistry, ImageRegistryArgs
from .storage import ObjectStore, ObjectStoreArgs

__all__ = [
    "Cluster",
    "ClusterArgs",
    "ImageRegistry",
    "ImageRegistryArgs",
    "ObjectStore",
    "ObjectStoreArgs",
]
