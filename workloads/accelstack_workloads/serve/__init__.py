"""The inference server: one model, Open Inference Protocol v2 over REST and gRPC, metrics, and a page for people."""
