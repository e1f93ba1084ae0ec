"""The models of the bundled workloads, and their networks, one small file each."""
