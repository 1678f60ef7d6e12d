from __future__ import annotations

import json

import jsonschema
import pytest

from xmodal.recipe import Recipe
from xmodal.recipe.schema import COMPONENTS, json_schema
from xmodal.recipe.source import parse_text, read, shipped


def test_the_json_schema_accepts_what_we_accept() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in shipped().values():
        validator.validate(read(path).data)
        # As an editor sees a file that extends another: the file alone.
        validator.validate({**json.loads(json.dumps(read(path).data)), "extends": "other.yaml"})
    wrong = read(shipped()["bit_xor_fpt"]).data
    for path, value in ((("train", "lr"), "fast"), (("body", "nme"), "x"), (("freez",), "none")):
        spoilt = json.loads(json.dumps(wrong))
        at = spoilt
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        assert not validator.is_valid(spoilt), path
    named = json.dumps(schema)
    assert all(
        (name if name.endswith(":") else f'"{name}"') in named for table in COMPONENTS.values() for name in table
    )


@pytest.mark.parametrize("name", shipped())
def test_the_json_schema_takes_every_shipped_recipe(name: str) -> None:
    jsonschema.validate(parse_text(shipped()[name].read_text(), name).data, json_schema())


def test_the_json_schema_knows_a_recipe_that_extends_another() -> None:
    jsonschema.validate({"extends": "a.yaml", "train": {"steps": 3}, "body": {"init": "random"}}, json_schema())
    for wrong in ({"name": "a", "train": {"steps": 3}}, {"extends": "a.yaml", "train": {"stepss": 3}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema())


def test_every_field_of_every_option_is_documented() -> None:
    from xmodal.recipe.legacy import LegacyOptions
    from xmodal.recipe.schema import Lock, TrainOptions, options_class

    models = {Recipe, TrainOptions, LegacyOptions, Lock}
    for section, table in COMPONENTS.items():
        models |= {options for name in table if (options := options_class(section, name))}  # type: ignore[misc]
    assert len(models) > 10
    for model in models:
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
