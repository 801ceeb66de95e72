"""JSON: whether a completion is JSON at all, and whether it is what a JSON Schema asks for.

Schemas are validated by `jsonschema`. Nothing is fetched: a ``$ref`` leads into the schema itself or to the standard
meta-schemas. Its patterns are searched by the `regex` module, which can be stopped.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import regex

from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers.base import Score, Scorer, register
from textgym.types import Scores, ScoringContext, TextBatch

PATTERN_SECONDS = 1.0
"""How long one pattern of a schema may look at one string."""

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)
_NOT_JSON = object()

Validate = Any
"""A validator of jsonschema."""


@register("json")
@dataclass(frozen=True)
class Json(Scorer):
    """1 if a completion is one JSON value and nothing else, else 0.

    As RFC 8259 has it: no NaN, no comments, no trailing commas. White space around the value is allowed. A number
    beyond float64, and lists deeper than the parser goes, are not read.

    Args:
        fenced: take the text between the last ```` ```json ```` and ```` ``` ````, where there is such a block.
    """

    fenced: bool = False
    range = (0.0, 1.0)
    formula = "1 if the completion is a JSON text else 0"
    source = "RFC 8259"

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), 0 or 1."""
        values = [_read(text, self.fenced) is not _NOT_JSON for text in batch.completion_texts]
        return Scores(np.array(values, dtype=np.float64))


@register("json_schema")
@dataclass(frozen=True)
class JsonSchema(Scorer):
    """1 if a completion is JSON that a schema allows, else 0.

    Args:
        schema: the schema, as JSON text or as the path of a file; none to take it from the metadata.
        field: the field of a row's metadata that holds the schema, an object or JSON text. A row without it is not
            applicable.
        fenced: take the text between the last ```` ```json ```` and ```` ``` ````, where there is such a block.
        formats: check ``format`` as well, which JSON Schema by itself takes for a remark; those that need other
            libraries stay unchecked.
    """

    schema: str | None = None
    field: str | None = None
    fenced: bool = False
    formats: bool = False
    positional = 1
    range = (0.0, 1.0)
    formula = "1 if the completion is JSON and valid against the schema else 0"
    source = "JSON Schema 2020-12 and earlier drafts, by $schema"
    extra = "verify"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.schema is None) == (self.field is None):
            raise ScorerError(
                "json_schema takes a schema, or the field of the metadata that holds one: "
                """json_schema('{"type": "object"}'), json_schema('person.json') or json_schema(field='schema')"""
            )

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where the schema comes from the metadata, and not every text of the task has one."""
        if self.field is None:
            return False
        lacks = getattr(context, "lacks", None)
        return bool(lacks(self.field)) if lacks is not None else True

    def fingerprint(self, context: ScoringContext) -> str:
        """Hash of the schema's file, if it is in one."""
        if self.schema is None or _is_inline(self.schema):
            return ""
        return f"{self.schema} sha={hashlib.sha256(_text(self.schema).encode()).hexdigest()[:16]}"

    def prepare(self, context: ScoringContext | None) -> Score:
        """Reads the schema.

        Raises:
            ScorerError: it cannot be read, or is no JSON Schema.
            MissingExtraError: jsonschema is not installed.
        """
        _jsonschema()
        if self.schema is None:
            return partial(self._measure, None)
        return partial(self._measure, _validator(_text(self.schema), self.formats))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), 0 or 1."""
        return self.prepare(None)(batch)

    def _measure(self, fixed: Validate, batch: TextBatch) -> Scores:
        rows = batch.metadata or [{}] * len(batch)
        validators = [fixed if fixed is not None else self._own(row) for row in rows]
        pairs = zip(batch.completion_texts, validators, strict=True)
        values = [validator is not None and _allows(validator, _read(text, self.fenced)) for text, validator in pairs]
        return Scores(np.array(values, dtype=np.float64), np.array([one is not None for one in validators], dtype=bool))

    def _own(self, metadata: Mapping[str, Any]) -> Validate:
        """The validator of a row's own schema; None where it has none."""
        given = metadata.get(str(self.field))
        if given is None:
            return None
        try:
            return _validator(given if isinstance(given, str) else json.dumps(given), self.formats)
        except (ScorerError, TypeError) as error:
            raise ScoringFailure(f"the schema in {self.field!r} of the metadata: {error}") from error


def _is_inline(schema: str) -> bool:
    return schema.strip().startswith("{") or schema.strip() in ("true", "false")


def _text(schema: str) -> str:
    if _is_inline(schema):
        return schema
    try:
        return Path(schema).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScorerError(
            f"json_schema: {schema!r} is neither a JSON object nor a file that can be read: {error}"
        ) from None


def _read(text: str, fenced: bool) -> Any:
    """The JSON value of a text; `_NOT_JSON` if it is none."""
    blocks = _FENCED.findall(text) if fenced else []
    try:
        return json.loads(blocks[-1] if blocks else text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise ValueError("beyond float64")
    return number


def _whole(digits: str) -> int:
    if len(digits) > 308:  # a validator may divide it by a float
        raise ValueError("beyond float64")
    return int(digits)


def _allows(validator: Validate, value: Any) -> bool:
    if value is _NOT_JSON:
        return False
    from referencing.exceptions import Unresolvable

    try:
        return bool(validator.is_valid(value))
    except Unresolvable as error:
        raise ScoringFailure(
            f"json_schema: {error}: a $ref must lead into the schema itself; nothing is fetched"
        ) from None
    except RecursionError:
        return False


def _jsonschema() -> Any:
    try:
        import jsonschema.validators
    except ImportError as error:
        raise MissingExtraError("jsonschema", "verify", "the scorer json_schema") from error
    return jsonschema


@lru_cache(maxsize=256)
def _validator(text: str, formats: bool) -> Validate:
    """A validator that fetches nothing and whose patterns can be stopped."""
    from referencing import Registry

    validators = _jsonschema().validators
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScorerError(f"json_schema: the schema is no JSON: {error}") from None
    if not isinstance(schema, dict | bool):
        raise ScorerError(f"json_schema: a schema is an object, true or false, not {type(schema).__name__}")
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except _jsonschema().SchemaError as error:
        raise ScorerError(f"json_schema: this is no schema: {error.message} at {error.json_path}") from None
    keywords = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    stoppable = validators.extend(kind, keywords)
    return stoppable(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER if formats else None)


def _found(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        raise ScoringFailure(
            f"json_schema: pattern {pattern!r} took more than {PATTERN_SECONDS:g} s on {text[:100]!r}. A repeat within "
            "a repeat, as in (a+)+, tries every way to split a text: write a+"
        ) from None
    except regex.error as error:
        raise ScoringFailure(f"json_schema: pattern {pattern!r} of the schema: {error}") from None


def _pattern(validator: Validate, pattern: str, value: Any, schema: Any) -> Iterator[Exception]:
    if isinstance(value, str) and not _found(pattern, value):
        yield _jsonschema().ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Validate, patterns: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[Exception]:
    if isinstance(value, dict):
        for pattern, part in patterns.items():
            for key in value:
                if _found(pattern, key):
                    yield from validator.descend(value[key], part, path=key, schema_path=pattern)


def _additional(validator: Validate, allowed: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Exception]:
    if not isinstance(value, dict):
        return
    patterns, known = schema.get("patternProperties", {}), schema.get("properties", {})
    for key in value:
        if key not in known and not any(_found(pattern, key) for pattern in patterns):
            yield from validator.descend(value[key], allowed, path=key)
