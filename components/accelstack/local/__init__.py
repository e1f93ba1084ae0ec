"""This machine as a target: processes, loopback ports and folders, with the args and outputs of every other target.

Its components stand on Pulumi's dynamic resources, so they work from Python programs alone.
"""

from accelstack.local.cluster import Cluster, ClusterArgs
from accelstack.local.inference_service import InferenceService, LocalInferenceServiceArgs
from accelstack.local.network import Network, NetworkArgs
from accelstack.local.storage import ObjectStore, ObjectStoreArgs
from accelstack.local.training_job import LocalTrainingJobArgs, TrainingJob

__all__ = [
    "Cluster",
    "ClusterArgs",
    "InferenceService",
    "LocalInferenceServiceArgs",
    "LocalTrainingJobArgs",
    "Network",
    "NetworkArgs",
    "ObjectStore",
    "ObjectStoreArgs",
    "TrainingJob",
]
