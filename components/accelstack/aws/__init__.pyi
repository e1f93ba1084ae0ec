from .budget import Budget, BudgetArgs
from .cluster import Cluster, ClusterArgs
from .cluster_addons import ClusterAddons, ClusterAddonsArgs, NodeAddons, NodeAddonsArgs
from .cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from .endpoints import Endpoints, EndpointsArgs
from .existing_network import ExistingNetwork, ExistingNetworkArgs
from .flow_logs import FlowLogs, FlowLogsArgs
from .identity import Role, RoleArgs, ServiceRole, ServiceRoleArgs
from .images import ImageRepository, ImageRepositoryArgs
from .karpenter import Karpenter, KarpenterArgs
from .karpenter_pool import KarpenterPool, KarpenterPoolArgs
from .keys import Key, KeyArgs
from .lustre import Lustre, LustreArgs
from .managed_access import ManagedAccess, ManagedAccessArgs
from .managed_serving import InferenceService, SageMakerInferenceServiceArgs
from .managed_training import SageMakerArgs, SageMakerTrainingJobArgs, TrainingJob
from .network import Network, NetworkArgs
from .node_pool import NodePool, NodePoolArgs
from .pools import PoolArgs
from .shared_files import SharedFiles, SharedFilesArgs
from .storage import ObjectStore, ObjectStoreArgs

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
