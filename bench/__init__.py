"""A suite declares a matrix of cases. Each case is measured through one inference core, in fresh processes.

What was seen is a report. A report is judged against targets, a baseline or another machine, and shown.

PYTEST_DONT_REWRITE: pytest would warn wherever `bench` is imported before the plugin is, and some projects fail then.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.core.predictions import Prediction
    from bench.core.session import InferenceSession

__version__ = "0.1.0"
__all__ = ["InferenceSession", "Prediction"]


def __getattr__(name: str) -> Any:
    """The public names, found when they are asked for: `import bench` alone loads no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    from bench.core import predictions, session  # noqa: PLC0415 - torch takes seconds to import

    return getattr(predictions if name == "Prediction" else session, name)
