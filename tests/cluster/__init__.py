"""A real Kubernetes control plane on loopback, with nodes and pods that KWOK plays."""
