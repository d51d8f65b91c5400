"""A value worked out when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801  -- used as a decorator, as property is
    """As ``functools.cached_property``, without its lock, which before Python 3.12 all objects of
    a class share: two threads that ask one object at once may both work the value out."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = ""
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, made: None, owner: type) -> Self: ...
    @overload
    def __get__(self, made: object, owner: type) -> T: ...
    def __get__(self, made: object | None, owner: type) -> Self | T:
        if made is None:
            return self
        value = made.__dict__[self._name] = self._make(made)
        return value
