"""Amazon Web Services as a target."""

from accelstack.aws.budget import Budget, BudgetArgs
from accelstack.aws.cluster import Cluster, ClusterArgs
from accelstack.aws.cluster_addons import ClusterAddons, ClusterAddonsArgs, NodeAddons, NodeAddonsArgs
from accelstack.aws.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from accelstack.aws.endpoints import Endpoints, EndpointsArgs
from accelstack.aws.existing_network import ExistingNetwork, ExistingNetworkArgs
from accelstack.aws.flow_logs import FlowLogs, FlowLogsArgs
from accelstack.aws.identity import Role, RoleArgs, ServiceRole, ServiceRoleArgs
from accelstack.aws.images import ImageRepository, ImageRepositoryArgs
from accelstack.aws.karpenter import Karpenter, KarpenterArgs
from accelstack.aws.karpenter_pool import KarpenterPool, KarpenterPoolArgs
from accelstack.aws.keys import Key, KeyArgs
from accelstack.aws.lustre import Lustre, LustreArgs
from accelstack.aws.managed_access import ManagedAccess, ManagedAccessArgs
from accelstack.aws.managed_serving import InferenceService, SageMakerInferenceServiceArgs
from accelstack.aws.managed_training import SageMakerArgs, SageMakerTrainingJobArgs, TrainingJob
from accelstack.aws.network import Network, NetworkArgs
from accelstack.aws.node_pool import NodePool, NodePoolArgs
from accelstack.aws.pools import PoolArgs
from accelstack.aws.shared_files import SharedFiles, SharedFilesArgs
from accelstack.aws.storage import ObjectStore, ObjectStoreArgs

__all__ = [
    "Budget",
    "BudgetArgs",
    "Cluster",
    "ClusterAddons",
    "ClusterAddonsArgs",
    "ClusterArgs",
    "ClusterAutoscaler",
    "ClusterAutoscalerArgs",
    "Endpoints",
    "EndpointsArgs",
    "ExistingNetwork",
    "ExistingNetworkArgs",
    "FlowLogs",
    "FlowLogsArgs",
    "ImageRepository",
    "ImageRepositoryArgs",
    "InferenceService",
    "Karpenter",
    "KarpenterArgs",
    "KarpenterPool",
    "KarpenterPoolArgs",
    "Key",
    "KeyArgs",
    "Lustre",
    "LustreArgs",
    "ManagedAccess",
    "ManagedAccessArgs",
    "Network",
    "NetworkArgs",
    "NodeAddons",
    "NodeAddonsArgs",
    "NodePool",
    "NodePoolArgs",
    "ObjectStore",
    "ObjectStoreArgs",
    "PoolArgs",
    "Role",
    "RoleArgs",
    "SageMakerArgs",
    "SageMakerInferenceServiceArgs",
    "SageMakerTrainingJobArgs",
    "ServiceRole",
    "ServiceRoleArgs",
    "SharedFiles",
    "SharedFilesArgs",
    "TrainingJob",
]
