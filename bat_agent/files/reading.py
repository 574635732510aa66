"""Text and arrays from outside, read within limits: what is too deep, too long or none is a :class:`ValueError` in one
line.

Parsers end in many ways on what nobody would write: a thousand brackets in RecursionError, a number of 5,000 digits in
OverflowError later on, a few anchors of YAML in gigabytes, the header of a ``.npy`` file in eight kinds of error.
Whoever reads JSON, YAML, CSV or arrays of numpy does it through here, and turns the one :class:`ValueError` into a
sentence with the file's name.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bat_agent.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

MOST_DEPTH = 64
"""Levels of lists and mappings; ours have fewer than ten."""
MOST_VALUES = 5_000_000
"""Values of a YAML document with its aliases written out."""
LARGEST_INT = 2**63
PLAIN_BYTES, HIGHEST_RATIO = 1 << 24, 200
"""Deflate reaches 1000 to 1 with nothing but zeros; above 16 MiB that is no data. JSON of ours is below 30 to 1."""
_NUMPY = b"\x93NUMPY"
_LONG_NUMBER = re.compile(r"\d{19}")
_BRACKETS = re.compile(r"[][{}]")
_TOO_DEEP = f"lists and mappings stand more than {MOST_DEPTH} deep in each other"


def read_text(path: Path, *, what: str, fix: str) -> str:
    """A UTF-8 file as text.

    Raises :class:`~bat_agent.errors.BadInput` where it cannot be read or is no text: ``what`` it should be, such as "a
    scene", and how to ``fix`` that.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror or error}), expected {what}; {fix}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text, expected {what}; {fix}") from error
    except ValueError as error:  # a NUL or half a character in its name
        raise BadInput(f"{str(path)!r} is no name of a file ({error}), expected {what}; {fix}") from error


class NotYaml(ValueError):
    """No YAML, or none that anybody writes; ``line`` is where, counted from 1."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


def parse_json(text: str | bytes) -> Any:
    """What ``json.loads`` gives.

    Raises :class:`json.JSONDecodeError`, also for what is too deep or has a whole number beyond 2^63 in it, and
    :class:`UnicodeDecodeError` for bytes that are no UTF-8; both are kinds of :class:`ValueError`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    hook = {"parse_int": _int} if _LONG_NUMBER.search(text) else {}
    try:
        value = json.loads(text, **hook)  # type: ignore[arg-type]
        if text.count("[") + text.count("{") > MOST_DEPTH:
            check_depth(value)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError(_TOO_DEEP, text, 0) from error
    except ValueError as error:
        raise json.JSONDecodeError(str(error), text, 0) from error
    return value


def decode_json(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at ``at`` and where it ends; raises :class:`json.JSONDecodeError` as :func:`parse_json`."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, at)
        check_depth(value)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError(_TOO_DEEP, text, at) from error
    except ValueError as error:  # a number of thousands of digits
        raise json.JSONDecodeError(_line(error), text, at) from error
    return value, end


def parse_yaml(text: str) -> Any:
    """What a YAML document says: dates stay text, ``1e-3`` is a number, a key stands once in a place.

    Raises :class:`NotYaml` alone.
    """
    import yaml

    _check_brackets(text)
    try:
        value = yaml.load(text, _loader())
        if _written_out(value, 0, {}) > MOST_VALUES:
            raise NotYaml(f"with its aliases written out it has more than {MOST_VALUES:,} values")
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        raise NotYaml(
            _line(error.problem or error), error.problem_mark.line + 1 if error.problem_mark else None
        ) from error
    except RecursionError as error:
        raise NotYaml(_TOO_DEEP) from error
    except Exception as error:  # a value with a tag that it does not fit ends in anything, KeyError included
        raise NotYaml(_line(error)) from error
    return value


def parse_rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of CSV as (number of the line, its fields by the names of the first line).

    "" stands where a row has too few fields; those beyond the names are left out. The first item is the first line
    itself. Raises :class:`ValueError` for a field beyond 131,072 characters, as an open quotation mark makes.
    """
    table = csv.DictReader(lines, restval="")
    try:
        yield 1, {name: name for name in table.fieldnames or ()}
        for row in table:
            yield table.line_num, {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise ValueError(f"line {table.line_num}: {error}") from error


def parse_array(content: bytes) -> np.ndarray:
    """The numbers in the content of a ``.npy`` file; raises :class:`ValueError` where it is none."""
    return _array(io.BytesIO(content))


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The numbers in a ``.npy`` file, ``mapped`` into memory where only some of them are wanted.

    Raises :class:`ValueError` where it holds none, and :class:`OSError` where it cannot be read.
    """
    with path.open("rb") as stream:
        return _array(stream, path if mapped else None)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz`` file by name; raises as :func:`read_array`."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                check_unpacked(member.compress_size, member.file_size)
        with np.load(path, allow_pickle=False) as found:
            return {name: np.asarray(found[name]) for name in found.files}
    except OSError:
        raise
    except Exception as error:  # a damaged list of members ends in anything, as in bat_agent.datasets.archives
        raise ValueError(_line(error) or type(error).__name__) from error


def check_unpacked(packed: int, size: int) -> None:
    """Raise :class:`ValueError` where ``packed`` bytes claim to be as many more as no data is."""
    if size > max(PLAIN_BYTES, packed * HIGHEST_RATIO):
        raise ValueError(f"{packed:,} bytes would become {size:,}, as no recording or list does")


def check_depth(value: Any) -> None:
    """Raise :class:`ValueError` where lists and mappings stand more than :data:`MOST_DEPTH` deep in each other."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        inside: list[Any] = []
        for each in level:
            inside += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level = [each for each in inside if isinstance(each, dict | list)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def file_name(text: str) -> str:
    """A path as somebody wrote it; raises :class:`~bat_agent.errors.BadInput` where no file can be called so."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" and not "\udc80" <= letter <= "\udcff" for letter in text):
        raise BadInput(f"{text!r} has a NUL or half a character in it and names no file; mend the name")
    return text


def _check_brackets(text: str) -> None:
    """Refuse what is too deep before PyYAML sees it, which takes the square of the depth for it."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > MOST_DEPTH:
            raise NotYaml(_TOO_DEEP)


def _array(stream: BinaryIO, mapped: Path | None = None) -> np.ndarray:
    import numpy as np

    try:
        if stream.read(len(_NUMPY)) != _NUMPY:  # numpy would take it for an archive, and leave that open
            raise ValueError("it does not begin as a .npy file")
        stream.seek(0)
        found: np.ndarray = (
            np.load(stream, allow_pickle=False) if mapped is None else np.load(mapped, "r", allow_pickle=False)
        )
        if found.dtype.kind not in "biufc":
            raise ValueError(f"it holds {found.dtype}, expected numbers")
    except OSError:
        raise
    except Exception as error:  # TokenError, EOFError; MemoryError where a header claims what is not there
        raise ValueError(_line(error) or type(error).__name__) from error
    return found


def _int(digits: str) -> int:
    if len(digits) > 20 or abs(number := int(digits)) > LARGEST_INT:
        raise ValueError(f"the number {digits[:12]}… of {len(digits)} digits is beyond 2^63")
    return number


def _line(error: object) -> str:
    return " ".join(str(error).split())


def _written_out(value: Any, depth: int, known: dict[int, int]) -> int:
    """How many values there are where every alias is written out."""
    if not isinstance(value, dict | list):
        if isinstance(value, int) and abs(value) > LARGEST_INT:
            raise NotYaml("a number is beyond 2^63")
        return 1
    if depth > MOST_DEPTH:
        raise NotYaml(_TOO_DEEP)
    if id(value) not in known:
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_out(each, depth + 1, known) for each in inside)
    return known[id(value)]


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Dates stay text (they would become objects or, on the 31st of June, errors); numbers are those of YAML 1.2.

        PyYAML takes the last of two equal keys without a word; here they are an error.
        """

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[Hashable] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable):
                    if key in seen:
                        problem = f"found {key!r} twice in one place"
                        raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                    seen.add(key)
            return super().construct_mapping(node, deep)

    dates, floats = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float"
    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in (dates, floats)]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    number = r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    number += r"|[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    Loader.add_implicit_resolver(floats, re.compile(number), list("-+0123456789."))
    return Loader
