"""What runs on any Kubernetes cluster.

Each component is imported when it is first used, since the SDKs are large: what there is stands in `__init__.pyi`.
"""

import lazy_loader  # pyright: ignore[reportMissingTypeStubs]

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]
