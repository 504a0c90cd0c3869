"""What answers must look like: a schema is read and judged, and answers are checked against it."""

import pytest

from orchestrator.domain.answer_schema import MOST_BYTES, AnswerSchema
from orchestrator.domain.errors import UsageError

CLOSED = '"additionalProperties":false'
REVIEW = AnswerSchema.read("label, score float, why?: in one sentence")


def object_of(properties: str, more: str = "") -> str:
    return f'{{"type":"object","properties":{{{properties}}},{CLOSED}{more}}}'


def test_a_few_words_are_a_schema_of_exactly_these_fields() -> None:
    """The short form is closed, all of it is required but what has a `?`, and a type that is not said is a text."""
    assert REVIEW.text == (
        '{"type":"object","properties":{"label":{"type":"string"},"score":{"type":"number"},'
        '"why":{"type":"string","description":"in one sentence"}},"required":["label","score"],'
        '"additionalProperties":false}'
    )
    assert REVIEW.fields == ("label", "score", "why")
    assert REVIEW.field_types == {"label": "string", "score": "number", "why": "string"}
    assert AnswerSchema.read("n int?, ok? bool, ").field_types == {"n": "integer", "ok": "boolean"}
    assert AnswerSchema.read("\nlabel: good, bad or neither\nn int\n").fields == ("label", "n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the schema has no field"),
        ("a, a int", "the schema has the field a twice"),
        ("a list", "'list' is no type of the field a"),
        ("a int b", "'a int b' is no field"),
        ("a.b", "'a.b' is no field"),
        ("[]", "'[]' is no field"),
        ("a\ud800", "is no field"),
    ],
)
def test_words_that_are_no_schema_are_told(text: str, message: str) -> None:
    """Nothing of the short form is guessed: what is no field is named, with what a field is."""
    with pytest.raises(UsageError) as refused:
        AnswerSchema.read(text)
    assert message in refused.value.message
    assert refused.value.hint


def test_a_schema_of_ones_own_is_kept_as_it_is() -> None:
    """The order of its members, its numbers and its descriptions are the user's; only blanks go."""
    own = (
        ' {\n "type": "object", "required": ["b"], "properties": {"b": {"const": 1.0}}, "additionalProperties": false}'
    )
    assert AnswerSchema.read(own).text == (
        '{"type":"object","required":["b"],"properties":{"b":{"const":1.0}},"additionalProperties":false}'
    )


LEVEL = object_of('"m":{"anyOf":[{"$ref":"#/$defs/n"}]}')
MANY = ",".join(f'"a{n}":{{"type":"string"}}' for n in range(25))
UNIONS = ",".join(f'"a{n}":{{"type":["null","string"]}}' for n in range(17))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON: it ends too early"),
        ('{"title":"\ud800"}', "is not valid UTF-8"),
        ('{"a":' * 2000, "is nested too deeply"),
        ('{"items":' * 600 + "{}" + "}" * 600, "is nested too deeply"),
        (f'{{"type":"string","title":"{"x" * MOST_BYTES}"}}', "is larger than 64 KiB"),
        ('{"type":"object"}', "the schema is an object that is open to other properties"),
        (object_of('"a":{"properties":{}}'), "/properties/a of the schema is an object that is open"),
        (object_of('"a":{"type":"number","minimum":1}'), "/properties/a/minimum of the schema is not supported"),
        (object_of('"a/b":{"oneOf":[]}'), "/properties/a~1b/oneOf of the schema is not supported"),
        ('{"type":"array","items":{"type":"string","maxLength":3}}', "/items/maxLength of the schema is not supported"),
        ('{"type":"array","minItems":2}', "/minItems of the schema is supported by the API as 0 or 1 alone"),
        ('{"type":"array","minItems":[2]}', "/minItems of the schema"),
        ('{"type":"strin"}', "/type of the schema has 'strin', which is no type"),
        ('{"type":"string","format":"color"}', "/format of the schema is 'color'"),
        ('{"enum":[{}]}', "/enum of the schema has an object or a list"),
        (r'{"type":"string","pattern":"(?<=a)b"}', "/pattern of the schema looks around"),
        (r'{"type":"string","pattern":"\\bfoo"}', "/pattern of the schema looks around"),
        ('{"type":"string","pattern":"["}', '/pattern of the schema is wrong: "[" is not a "regex"'),
        (object_of('"a":{"$ref":"#"}'), "the schema is recursive"),
        (object_of('"a":{"$ref":"#/$defs/n"}', f',"$defs":{{"n":{LEVEL}}}'), "/$defs/n of the schema is recursive"),
        ('{"$ref":"http://127.0.0.1:9/x.json"}', "/$ref of the schema leads out of the schema"),
        ('{"$ref":"file:///etc/passwd"}', "/$ref of the schema leads out of the schema"),
        ('{"$ref":"#/$defs/x"}', "'/$defs/x' does not exist"),
        ('{"allOf":[{"$ref":"#/$defs/x"}],"$defs":{"x":{"type":"string"}}}', "/allOf/0/$ref of the schema is in an"),
        (object_of(MANY), "has 25 properties that are not required"),
        (object_of(UNIONS), "has 17 values of several types"),
        ('{"type":"object","properties":[],"additionalProperties":false}', "/properties of the schema is wrong: []"),
        ('{"$schema":"http://example.com/x"}', "Unknown meta-schema"),
    ],
)  # fmt: skip
def test_what_the_api_would_refuse_is_told_with_its_place(text: str, message: str) -> None:
    """Each request would be refused for it: it is told before anything is sent, by its JSON pointer, with a remedy."""
    with pytest.raises(UsageError) as refused:
        AnswerSchema.read(text)
    assert message in f"{refused.value.message}\n{refused.value.cause}"
    assert refused.value.hint


def test_every_place_is_told_at_once() -> None:
    """A schema out of a library has the same thing in many places."""
    with pytest.raises(UsageError, match="/properties/a/minimum") as refused:
        AnswerSchema.read(object_of('"a":{"minimum":1},"b":{"not":{}}'))
    assert refused.value.cause == "and /properties/b/not of the schema is not supported by the API"


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    """Names of properties are the user's; only keywords are judged, and a reference may be used twice."""
    shared = ',"$defs":{"d":{"type":"string","pattern":"^\\\\\\\\d+$"}}'
    names = '"minimum":{"$ref":"#/$defs/d"},"$ref":{"$ref":"#/$defs/d"},"properties":{"type":["integer","null"]}'
    read = AnswerSchema.read(object_of(names, shared))
    assert read.field_types == {"minimum": None, "$ref": None, "properties": "integer"}


def test_an_answer_that_is_no_object_has_no_fields() -> None:
    """A list of texts is an answer, too; it is in no columns."""
    listed = AnswerSchema.read('{"type":"array","items":{"type":"string"}}')
    assert (listed.fields, listed.parsed('["a"]')) == ((), ["a"])
    led = AnswerSchema.read('{"$ref":"#/$defs/r","$defs":{"r":' + object_of('"x":{"type":"string"}') + "}}")
    assert led.fields == ("x",)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"label":"a","score":1}', None),
        (' {"why":"so","score":1.5,"label":""}\n', None),
        ('{"label":"a","score":"high"}', '/score: "high" is not of type "number"'),
        ('{"label":"a","score":true}', '/score: true is not of type "number"'),
        ('{"label":"a"}', '"score" is a required property'),
        ('{"label":"a","score":1,"x":2}', "Additional properties are not allowed ('x' was unexpected)"),
        (f'{{"label":["{"x" * 90}"],"score":1}}', f'/label: ["{"x" * 58}… is not of type "string"'),
        ("[]", '[] is not of type "object"'),
        ('{"label":"a","sc', "not JSON: it ends too early"),
        ("", "not JSON: it ends too early"),
        ("I cannot help with that.", "not JSON: invalid character (byte 0)"),
        ('```json\n{"label":"a","score":1}\n```', "not JSON: invalid character (byte 0)"),
        ('{"label":"a","score":NaN}', "not JSON: invalid character (byte 21)"),
        ("1" * 5000, "not JSON: Integer value out of range"),
        ("[" * 5000, "not JSON: is nested too deeply (about 1,000 levels are read)"),
        ('{"label":"\ud800"}', "not JSON: is not valid UTF-8"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_by_its_place(answer: str, problem: str | None) -> None:
    """An answer is untrusted text: whatever it is, it fits or is told in a short sentence, and nothing is raised."""
    assert REVIEW.problem(answer) == problem
    assert (REVIEW.parsed(answer) is None) == (problem is not None)


def test_a_text_of_an_enum_may_differ_in_case_and_is_put_right() -> None:
    """The API does not promise the case of enums: to pay again for it would be a waste."""
    topic = '"topic":{"anyOf":[{"enum":["Topic 1","Topic two"]},{"type":"null"}]}'
    schema = AnswerSchema.read(object_of(topic + ',"all":{"type":"array","items":{"const":"Yes"}}'))
    assert schema.parsed('{"topic":"Topic Two","all":["Yes","yes"]}') == {"topic": "Topic two", "all": ["Yes", "Yes"]}
    assert schema.parsed('{"topic":"topic three"}') is None
    alike = AnswerSchema.read('{"enum":["a","A","b"]}')
    assert (alike.parsed('"A"'), alike.parsed('"B"')) == ("A", "b")


def test_no_reference_is_ever_fetched() -> None:
    """A schema out of the store is not judged again, and even then nothing of this machine or the network is read."""
    for place in ("http://127.0.0.1:9/x.json", "file:///etc/hostname"):
        with pytest.raises(ValueError, match="Retrieval is disabled"):
            AnswerSchema(f'{{"$ref":"{place}"}}').problem("{}")
