"""An existing Kubernetes cluster, of any maker, as a target: adopted, with storage and images that are there already.

Each component is imported when it is first used, since the SDK of Kubernetes is large: what there is stands in
`__init__.pyi`.
"""

import lazy_loader  # pyright: ignore[reportMissingTypeStubs]

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]
