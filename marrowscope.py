"""Marrowscope's Python client, which sends tiles to a running service.

For Research Use Only. Not for use in diagnostic procedures.

Example:
    >>> import marrowscope
    >>> with marrowscope.Client("http://127.0.0.1:8000") as service:
    ...     answer = service.analyze("models/marrow/sample.png")
    >>> answer.label.value
    'normal'
"""

from app import __version__
from app.client import Client, ServiceProblem

__all__ = ["Client", "ServiceProblem", "__version__"]
