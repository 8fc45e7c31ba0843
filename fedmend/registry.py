"""Registries: plug-ins by name, found by package, typed by their factories' annotations.

A plug-in is one new file in the registry's package::

    @NOISES.register("gaussian")
    def gaussian(*, std: Range = Range(0.07, 0.07)) -> Noise: ...

Keyword-only parameters are the ones a spec may set; positional ones are what the application
itself supplies (say, the number of channels). The files of the package are imported at the first
look-up, so a registry costs nothing until it is used.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import pkgutil
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from fedmend.errors import SpecError
from fedmend.spec import Range, Term, parse_chain, parse_term

T = TypeVar("T")


class Registry(Generic[T]):
    """Factories of one kind of plug-in, by name.

    Args:
        kind: what the plug-ins are called in messages ("noise").
        package: whose modules register them.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._factories: dict[str, Callable[..., T]] = {}
        self._found = False

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Return a decorator that registers a factory (a function or a class) as ``name``."""

        def keep(factory: Callable[..., T]) -> Callable[..., T]:
            taken = self._factories.get(name)
            if taken is not None and taken.__module__ != factory.__module__:
                raise ValueError(f"{self.kind} {name!r} is registered by {taken.__module__} too")
            self._factories[name] = factory
            return factory

        return keep

    def _find(self) -> None:
        if not self._found:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._found = True

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        self._find()
        return sorted(self._factories)

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """Return the parameters that a spec may set, with resolved annotations.

        Raises:
            SpecError: no such plug-in; the message lists those that exist.
        """
        self._find()
        if name not in self._factories:
            raise SpecError(f"{self.kind} {name!r} does not exist; there is {self._listed()}")
        factory = self._factories[name]
        target = factory.__init__ if inspect.isclass(factory) else factory
        hints = typing.get_type_hints(target)
        return {
            key: parameter.replace(annotation=hints.get(key, str))
            for key, parameter in inspect.signature(factory).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def _listed(self) -> str:
        return ", ".join(self.names()) or "none at all"

    def arguments(self, term: Term) -> dict[str, Any]:
        """Return a term's values, typed by the factory's annotations.

        Raises:
            SpecError: an unknown name or parameter, a missing or ill-typed value.
        """
        parameters = self.parameters(term.name)
        for key in term.values:
            if key not in parameters:
                known = ", ".join(parameters) or "no parameters"
                raise SpecError(
                    f"{self.kind} {term.name!r} has no parameter {key!r}; it has {known}"
                )
        for key, parameter in parameters.items():
            if parameter.default is inspect.Parameter.empty and key not in term.values:
                raise SpecError(f"{self.kind} {term.name!r} needs {key}=…")
        where = f"{self.kind} {term.name!r}"
        return {
            key: _typed(text, parameters[key].annotation, f"{where}: {key}")
            for key, text in term.values.items()
        }

    def build(self, term: Term | str, *given: object) -> T:
        """Build a plug-in from its term.

        Args:
            term: the term, or its text.
            given: the factory's positional arguments.

        Raises:
            SpecError: anything wrong with the term, also what the factory itself refuses
                (it raises ``ValueError``).
        """
        if isinstance(term, str):
            term = parse_term(term)
        arguments = self.arguments(term)
        try:
            return self._factories[term.name](*given, **arguments)
        except SpecError:
            raise
        except ValueError as error:
            local = str(getattr(error, "local", "") or term)
            raise SpecError(f"{self.kind} {term.name!r}: {error}", local=local) from error


class Summed(Registry[Callable[..., Any]]):
    """Plug-ins of which several can be given: of ``a()+b()``, what is built answers the sum."""

    def build(self, term: Term | str, *given: object) -> Callable[..., Any]:
        """Build a plug-in from its term, or the sum of several from their chain.

        Args:
            term: the term, or the chain's text.
            given: the positional arguments of each factory.

        Raises:
            SpecError: anything wrong with one of the terms, or several chains.
        """
        terms = parse_chain(term) if isinstance(term, str) else (term,)
        made = [Registry.build(self, each, *given) for each in terms]
        if len(made) == 1:
            return made[0]
        return lambda *told: functools.reduce(operator.add, (each(*told) for each in made))


_BOOLS = {"true": True, "false": False}


def _typed(text: str, annotation: Any, where: str) -> Any:
    """Read ``text`` as the annotated type; ``where`` opens the error's sentence."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        choices = [str(choice) for choice in typing.get_args(annotation)]
        if text not in choices:
            raise SpecError(f"{where} must be one of {', '.join(choices)}; got {text!r}")
        return typing.get_args(annotation)[choices.index(text)]
    if origin in (typing.Union, types.UnionType):  # X | None: an absent value is the None
        inner = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return _typed(text, inner[0], where)
    if annotation is bool:
        if text not in _BOOLS:
            raise SpecError(f"{where} must be true or false; got {text!r}")
        return _BOOLS[text]
    if annotation is Path:
        return _absolute(text, where)
    wanted = {
        int: "a whole number",
        float: "a number",
        Range: "a number or a range such as 0.1..0.5",
        str: "text",
    }
    if annotation not in wanted:
        raise TypeError(f"{where}: a spec cannot carry {annotation!r}")
    try:
        return Range.parse(text) if annotation is Range else annotation(text)
    except ValueError as error:
        raise SpecError(f"{where} must be {wanted[annotation]}; got {text!r}") from error


def _absolute(text: str, where: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise SpecError(
            f"{where} must be an absolute path",
            local=f"got {text!r}; the working directory here is {Path.cwd()}",
        )
    return path
