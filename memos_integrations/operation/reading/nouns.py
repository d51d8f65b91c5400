"""Nouns that name an attribute (``employer``, ``home town``) and what their values look like."""

from __future__ import annotations

from typing import NamedTuple

from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.stating import Values


class Noun(NamedTuple):
    """An attribute and the shape of its value."""

    attribute: str
    shape: Values
    bare: bool = True
    """Whether the noun alone (``Job: nurse``) means the speaker's."""


def _nouns(*rows: tuple[str, str, Values, bool]) -> dict[str, Noun]:
    return {name: Noun(attribute, shape, bare) for names, attribute, shape, bare in rows
            for name in names.split("|")}  # fmt: skip


NOUNS = _nouns(
    ("home|home base|place of residence|residence|current residence|city|town|location"
     "|city of residence|country of residence|current address", "lives_in", shapes.home, True),
    ("place|base|house|flat|apartment|village", "lives_in", shapes.home, False),
    ("employer|workplace|place of work|place of employment|work place", "works_at",
     shapes.company, True),
    ("company|firm", "works_at", shapes.company, False),
    ("profession|occupation|job title|line of work|day job|trade|vocation|calling", "works_as",
     shapes.occupation, True),
    ("job|role|position|career|work|post|nine-to-five|9-to-5|nine to five|gig|main gig", "works_as", shapes.occupation, True),
    ("roots", "from", shapes.home, False),
    ("hometown|home town|home country|country of origin|native country|homeland|native city"
     "|home state", "from", shapes.home, True),
    ("birthplace|place of birth|city of birth|town of birth", "born_in", shapes.home, True),
    ("age", "age", shapes.age, True),
    ("birthday|date of birth|birth date|birthdate|dob|bday", "birthday", shapes.birthday, True),
    ("nationality|citizenship", "nationality", shapes.nationality, True),
    ("name|full name|first name|real name", "name", shapes.person, True),
    ("nickname|nick", "nickname", shapes.person, True),
    ("relationship status|marital status|civil status|family status", "relationship_status",
     shapes.status, True),
    ("diet|eating habits", "diet", shapes.diet, True),
    ("allergy|allergies|food allergies|food allergy|known allergies", "allergic_to",
     shapes.listed, True),
    ("native language|mother tongue|first language|native tongue|languages|spoken languages",
     "speaks", shapes.language, True),
    ("major|field of study|course of study|degree subject|subject of study", "studies",
     shapes.listed, True),
    ("university|college|uni|school", "studies_at", shapes.company, False),
    ("better half|other half|significant other|life partner", "partner", shapes.person, True),
    ("line manager|team lead|team leader|superior|head of department|department head", "boss",
     shapes.person, True),
    ("alma mater", "graduated_from", shapes.company, True),
    ("car|vehicle|ride|current car", "drives", shapes.vehicle, True),
    ("instrument|sport", "plays", shapes.listed, False),
    ("hobby|hobbies|passion|passions|pastime|pastimes|interests|great love|big passion", "likes",
     shapes.listed, True),
    ("favourite thing to eat|favorite thing to eat|favourite dish|favorite dish|favourite meal|favorite meal",
     "favourite_food", shapes.favoured, False),
    ("favourite thing to drink|favorite thing to drink", "favourite_drink", shapes.favoured, False),
    ("thing|cup of tea|jam", "likes", shapes.never, False),
    ("phone|phone number|mobile number|mobile|number|cell|cell phone|telephone", "phone",
     shapes.masked, True),
    ("email|email address|e-mail|e-mail address|mail address|mail", "email", shapes.masked, True),
    ("address|home address|postal address", "address", shapes.masked, True),
)  # fmt: skip
