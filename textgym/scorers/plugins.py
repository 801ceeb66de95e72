"""What other packages bring by entry points: whose fault it is when something is wrong with it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint

from textgym.errors import TextGymError


def only(kind: str, points: Sequence[EntryPoint], error: type[TextGymError]) -> EntryPoint:
    """The entry point of a name, where no two packages bring the same.

    Args:
        kind: what it holds, e.g. "scorer".
        points: those of that name; at least one.
        error: what to raise.
    """
    if len(points) > 1:
        packages = " and ".join(sorted(map(_origin, points)))
        raise error(f"{kind} {points[0].name!r} comes from {len(points)} packages: {packages}; uninstall all but one")
    return points[0]


@contextmanager
def blamed(kind: str, point: EntryPoint, error: type[TextGymError]) -> Iterator[None]:
    """Turns whatever goes wrong while an entry point is loaded into an error that names the package.

    Args:
        kind: what it holds, e.g. "scorer".
        point: what is loaded.
        error: what to raise.
    """
    try:
        yield
    except Exception as cause:
        reason = str(cause) if isinstance(cause, TextGymError) else f"{type(cause).__name__}: {cause}"
        raise error(f"{kind} {point.name!r} of the package {_origin(point)} cannot be used: {reason}") from cause


def _origin(point: EntryPoint) -> str:
    """Package, version and value; an entry point that was made by hand has no package."""
    package = "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    return f"{package} ({point.value})"
