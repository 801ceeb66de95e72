"""What was computed for a row is kept for the next scorer that asks: fluency and PMI of one batch cost one forward."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Values of the rows that were asked for last.

    Args:
        limit: how much is kept, in units of `size`. What one call asks for is returned whatever its size.
        size: of a value.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self._limit, self._size, self._held = limit, size, 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def values(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Sequence[Value]]) -> list[Value]:
        """The value of each key.

        Args:
            keys: equal ones have equal values.
            compute: gives the values of the keys at these places, none of which is known; called once at most.
        """
        with self._lock:  # a network runs one batch at a time
            places = {key: place for place, key in reversed(list(enumerate(keys)))}
            missing = sorted(place for key, place in places.items() if key not in self._values)
            found = {key: self._values[key] for key in places if key in self._values}
            if missing:
                computed = compute(missing)
                found.update((keys[place], value) for place, value in zip(missing, computed, strict=True))
            for key, value in found.items():
                self._keep(key, value)
        return [found[key] for key in keys]

    def _keep(self, key: Hashable, value: Value) -> None:
        if key not in self._values:
            self._held += self._size(value)
        self._values[key] = value
        self._values.move_to_end(key)
        while self._held > self._limit:
            self._held -= self._size(self._values.popitem(last=False)[1])
