"""Drawings as they stand in a page: no style sheet, script or link of their own, colours and ids that the page sets."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
GEOMETRY = {"d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "transform", "points"}
INHERITED = {"fill", "fill-opacity", "font-size", "stroke", "stroke-dasharray", "stroke-opacity", "stroke-width"}
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
REFERENCE = re.compile(r"url\(#([^)]*)\)")
DRAWING = {"svg", "g", "defs", "use", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
HARMLESS = DRAWING | {"text", "tspan", "title", "desc", "clipPath", "marker"}
"""Elements that only draw: they run nothing, and fetch nothing but by a reference, which must lead inside."""

ET.register_namespace("", SVG)


def tidied(drawing: str, colours: Mapping[str, str]) -> str:
    """A drawing of matplotlib's as a few kilobytes that take their colours from where they stand.

    Args:
        drawing: an SVG document.
        colours: by "#rrggbb", in lower case, what stands in its place, e.g. "currentColor".

    Returns:
        One `svg` element: styles are presentation attributes (which a policy against inline styles lets through),
        fonts are those around it, and numbers have one digit after the point, which is less than a pixel.
    """
    root = ET.fromstring(drawing)
    _, _, root.attrib["width"], root.attrib["height"] = root.attrib["viewBox"].split()
    for parent in list(root.iter()):
        for child in list(parent):
            if _tag(child) in {"metadata", "style"}:
                parent.remove(child)
    for element in root.iter():
        _restyle(element, colours)
    _name_again(root)
    _unwrap(root)
    for group in root.iter(f"{{{SVG}}}g"):
        _gather(group)
    root.attrib |= {"stroke-linecap": "round", "stroke-linejoin": "round", "role": "img"}
    return ET.tostring(root, encoding="unicode")


def placed(drawing: str, name: str, title: str, description: str) -> str:
    """A drawing for one place of a page: its ids begin with `name`, and screen readers are told what it shows.

    Args:
        drawing: an `svg` element.
        name: of letters, digits and hyphens; no other drawing of the page has it.
        title: a sentence.
        description: the whole of it in words.

    Raises:
        ValueError: no SVG, or one that could do more than draw (scripts, links to the outside, unknown elements).
    """
    try:
        root = ET.fromstring(drawing)
    except ET.ParseError as error:
        raise ValueError(f"a picture that is no SVG: {error}") from error
    for element in root.iter():
        _check(element)
        for key, value in element.attrib.items():
            if key == "id":
                element.attrib[key] = f"{name}-{value}"
            elif key == "href":
                element.attrib[key] = f"#{name}-{value[1:]}"
            else:
                element.attrib[key] = REFERENCE.sub(rf"url(#{name}-\1)", value)
    for told in [child for child in root if _tag(child) in {"title", "desc"}]:
        root.remove(told)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        said = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        said.text = text
        root.insert(place, said)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"}
    return ET.tostring(root, encoding="unicode")


def _tag(element: ET.Element) -> str:
    return element.tag.removeprefix(f"{{{SVG}}}")


def _check(element: ET.Element) -> None:
    if _tag(element) not in HARMLESS:
        raise ValueError(f"a picture may only draw: <{_tag(element)}> is none of {', '.join(sorted(HARMLESS))}")
    for key, value in element.attrib.items():
        inside = value.startswith("#") if key == "href" else "url(" not in REFERENCE.sub("", value).lower()
        if not inside or key == "style" or key.lower().startswith("on") or key.startswith("{"):
            raise ValueError(f"a picture may only draw: {key}={value!r} on <{_tag(element)}>")


def _restyle(element: ET.Element, colours: Mapping[str, str]) -> None:
    attributes = element.attrib
    for rule in filter(None, (part.strip() for part in attributes.pop("style", "").split(";"))):
        key, _, value = (part.strip() for part in rule.partition(":"))
        if key == "font":  # the shorthand is no attribute
            attributes |= _font(value)
        elif key not in {"font-family", "stroke-linecap", "stroke-linejoin"}:  # those of the page, and of the root
            attributes[key] = colours.get(value.lower(), value)
    if LINK in attributes:
        attributes["href"] = attributes.pop(LINK)
    if _tag(element) == "text" and "fill" not in attributes:
        attributes["fill"] = "currentColor"
    for key in GEOMETRY & attributes.keys():
        attributes[key] = " ".join(NUMBER.sub(_rounded, attributes[key]).split())
    if "d" in attributes:
        attributes["d"] = _path(attributes["d"])
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    element.text, element.tail = (text if text and text.strip() else None for text in (element.text, element.tail))


def _font(shorthand: str) -> Iterator[tuple[str, str]]:
    """Size and weight of `bold 10px 'DejaVu Sans', ...`."""
    if size := re.search(r"([\d.]+)px", shorthand):
        yield "font-size", size[1]
    if weight := re.match(r"bold|\d00\b", shorthand):
        yield "font-weight", weight[0]


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _path(path: str) -> str:
    """Lines as steps from corner to corner, in tenths, which are half as long to write."""
    if not re.fullmatch(r"[MLz\d.\s-]*", path):
        return path
    said, here = "", (0, 0)
    for command, *corner in re.findall(r"([ML]) ?(\S+) (\S+)|z", path):
        if not command:
            said += "z"
            continue
        x, y = (round(10 * float(part)) for part in corner)
        if command == "M":
            said += f"M{_tenths(x)}{_tenths(y)}".replace("M ", "M") + "l"
        else:
            said += f"{_tenths(x - here[0])}{_tenths(y - here[1])}".removeprefix(" " if said.endswith("l") else "")
        here = x, y
    return re.sub("l(?=[Mz]|$)", "", said)


def _tenths(value: int) -> str:
    """With its sign or a blank before it."""
    text = f"{abs(value) / 10:g}"
    return f"{'-' if value < 0 else ' '}{text.removeprefix('0') if 0 < abs(value) < 10 else text}"


def _name_again(root: ET.Element) -> None:
    """Short ids for what is referred to, none for the rest."""
    used = [value[1:] for element in root.iter() for key, value in element.attrib.items() if key == "href"]
    used += [
        found for element in root.iter() for value in element.attrib.values() for found in REFERENCE.findall(value)
    ]
    names = {name: f"i{place}" for place, name in enumerate(dict.fromkeys(used))}
    for element in root.iter():
        if name := names.get(element.attrib.pop("id", "")):
            element.attrib["id"] = name
        for key, value in element.attrib.items():
            if key == "href":
                element.attrib[key] = f"#{names[value[1:]]}"
            else:
                element.attrib[key] = REFERENCE.sub(lambda found: f"url(#{names[found[1]]})", value)


def _gather(group: ET.Element) -> None:
    """What all members of a group say, the group says."""
    for key in INHERITED & (group[0].attrib.keys() if len(group) > 1 else set()):
        if len(values := {member.attrib.get(key) for member in group}) == 1 and key not in group.attrib:
            group.attrib[key] = str(*values)
            for member in group:
                del member.attrib[key]


def _unwrap(element: ET.Element) -> None:
    """Groups that say nothing give way to what is in them."""
    children: list[ET.Element] = []
    for child in list(element):
        _unwrap(child)
        idle = _tag(child) in {"g", "defs"} and not child.attrib and (_tag(child) == "g" or not len(child))
        children += list(child) if idle else [child]
    element[:] = children
