"""The bundled PyTorch workloads: prepare, train, evaluate, register, predict and serve, each from one command line."""
