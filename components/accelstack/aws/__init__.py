"""Amazon Web Services as a target.

Each component is imported when it is first used, since AWS's SDK for Pulumi is large: what there is stands in
`__init__.pyi`.
"""

import lazy_loader  # pyright: ignore[reportMissingTypeStubs]

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]
