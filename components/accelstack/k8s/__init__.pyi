from .addons import AddOns, AddOnsArgs
from .alerts import Thresholds
from .backup import Backup, BackupArgs
from .fabric_probe import FabricProbe, K8sFabricProbeArgs
from .inference_service import InferenceService
from .model_registry import ModelRegistry, ModelRegistryArgs
from .namespace import Egress, Namespace, NamespaceArgs
from .observability import Observability, ObservabilityArgs
from .queue import Queues, QueuesArgs, Team
from .serving_args import Canary, K8sInferenceServiceArgs
from .training_job import K8sTrainingJobArgs, TrainingJob

__all__ = [
    "AddOns",
    "AddOnsArgs",
    "Backup",
    "BackupArgs",
    "Canary",
    "Egress",
    "FabricProbe",
    "InferenceService",
    "K8sFabricProbeArgs",
    "K8sInferenceServiceArgs",
    "K8sTrainingJobArgs",
    "ModelRegistry",
    "ModelRegistryArgs",
    "Namespace",
    "NamespaceArgs",
    "Observability",
    "ObservabilityArgs",
    "Queues",
    "QueuesArgs",
    "Team",
    "Thresholds",
    "TrainingJob",
]
