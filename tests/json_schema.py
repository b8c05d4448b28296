"""As much of JSON schema as our own schemas use; an unknown keyword fails, so that nothing goes unchecked."""

from typing import Any

TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip
KNOWN = {
    "$schema", "title", "description", "type", "properties", "required", "additionalProperties", "items", "minItems",
    "maxItems", "minimum", "maximum", "exclusiveMinimum", "enum", "const",
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """What a value does against a schema; empty if it is valid."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    out = []
    kinds = schema.get("type", list(TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, TYPES[k]) and not (isinstance(value, bool) and k != "boolean") for k in kinds):
        return [f"{where}: {type(value).__name__} is not {kinds}"]
    if "const" in schema and value != schema["const"]:
        out.append(f"{where}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        out.append(f"{where}: {value!r} is not in {schema['enum']}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high, above = (schema.get(k) for k in ("minimum", "maximum", "exclusiveMinimum"))
        if (low is not None and value < low) or (high is not None and value > high):
            out.append(f"{where}: {value} is not within {low} and {high}")
        if above is not None and value <= above:
            out.append(f"{where}: {value} is not above {above}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            out.append(f"{where}: {len(value)} items")
        for i, item in enumerate(value):
            out += problems(item, schema.get("items", {}), f"{where}[{i}]")
    if isinstance(value, dict):
        known, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        out += [f"{where}: no {k!r}" for k in schema.get("required", []) if k not in value]
        for k, v in value.items():
            if k in known:
                out += problems(v, known[k], f"{where}.{k}")
            elif extra is False:
                out.append(f"{where}: unknown key {k!r}")
            elif isinstance(extra, dict):
                out += problems(v, extra, f"{where}.{k}")
    return out
