"""What runs on any Kubernetes cluster."""

from accelstack.k8s.addons import AddOns

__all__ = ["AddOns"]
