"""What the users of a load test say: made of parts, so that hardly two messages are alike."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

NAMES = (
    *("Ada", "Bruno", "Chiara", "Dmitri", "Emeka", "Farah", "Goran", "Hanna", "Imani", "Jonas"),
    *("Keiko", "Lucia", "Mateo", "Noor", "Olga", "Priya", "Quentin", "Rosa", "Samir", "Tomasz"),
    *("Uma", "Vera", "Wei", "Ximena", "Yusuf", "Zofia"),
)
CITIES = (
    *("Lisbon", "Oslo", "Kyoto", "Nairobi", "Montreal", "Porto", "Gdansk", "Lyon", "Cusco"),
    *("Hanoi", "Tallinn", "Palermo"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FOODS = ("peanuts", "shellfish", "sesame", "strawberries", "celery", "lupins", "mustard", "gluten")
THINGS = ("bicycle", "standing desk", "espresso machine", "tent", "violin", "rain jacket", "camera")
MONTHS = ("Mai", "Juni", "Oktober")
TOPICS = (
    "the budget for next year",
    "moving the warehouse",
    "the broken export of invoices",
    "who takes over on-call duty",
    "the new logo",
    "a cheaper way to ship to Norway",
    "the accessibility report",
)
SYSTEMS = ("billing", "search", "login", "the mobile app", "the data warehouse", "the newsletter")
FAULTS = (
    "times out after thirty seconds",
    "answers with an empty page",
    "loses the second attachment",
    "counts everything twice",
    "cannot be reached from the Berlin office",
)


class Exchange(NamedTuple):
    """What a person tells, what is answered, and what may be asked about it later."""

    told: str
    answered: str
    question: str


def flight(random: Random) -> Exchange:
    """A journey."""
    city, day, gate = random.choice(CITIES), random.choice(DAYS), random.randint(1, 80)
    at = f"{random.randint(5, 22)}:{random.randrange(0, 60, 5):02}"
    told = f"My flight to {city} leaves on {day} at {at}, from gate {gate}."
    return Exchange(told, f"Noted: {city}, {day}, {at}.", f"When do I fly to {city}?")


def allergy(random: Random) -> Exchange:
    """What somebody must not eat."""
    name, food, city = random.choice(NAMES), random.choice(FOODS), random.choice(CITIES)
    told = (
        f"{name}, whom I met in {city}, is allergic to {food}, so no {food} at the dinner please."
    )
    return Exchange(told, f"I will leave out {food}.", f"What can {name} not eat?")


def meeting(random: Random) -> Exchange:
    """Who talks of what, and when."""
    name, topic, day = random.choice(NAMES), random.choice(TOPICS), random.choice(DAYS)
    room = random.randint(100, 599)
    told = f"On {day} I talk with {name} about {topic}; we are in room {room}."
    return Exchange(told, f"{day}, room {room}: {topic}.", f"Where do I meet {name} on {day}?")


def purchase(random: Random) -> Exchange:
    """Something that was bought."""
    thing, price, name = random.choice(THINGS), random.randint(20, 2400), random.choice(NAMES)
    order = f"{random.choice('ABCDEFGH')}{random.randint(10_000, 99_999)}"
    told = f"I ordered a {thing} for {price} euros as a present for {name}. The order is {order}."
    return Exchange(told, f"A good choice for {name}.", f"What did the {thing} for {name} cost?")


def fault(random: Random) -> Exchange:
    """Something that does not work, told at length."""
    system, broken, name = random.choice(SYSTEMS), random.choice(FAULTS), random.choice(NAMES)
    ticket, hours = random.randint(1000, 9999), random.randint(2, 90)
    told = (
        f"Since {hours} hours ago {system} {broken}. {name} saw it first and wrote ticket {ticket}."
        f" We have restarted everything once, which helped for {random.randint(3, 50)} minutes."
        f" What we know: it began with the release of {random.choice(DAYS)}, only some customers"
        f" are hit, most of them in {random.choice(CITIES)}, and the logs say nothing of use."
    )
    asked = f"What do we know about the fault of {system} that {name} found?"
    return Exchange(told, f"I have linked ticket {ticket} to the release.", asked)


def reise(random: Random) -> Exchange:
    """A journey, told in German."""
    city, name, days = random.choice(CITIES), random.choice(NAMES), random.randint(2, 21)
    told = f"Im {random.choice(MONTHS)} fahre ich mit {name} für {days} Tage nach {city}."
    return Exchange(told, "Das klingt schön, ich merke es mir.", f"Mit wem fahre ich nach {city}?")


def cumple(random: Random) -> Exchange:
    """A birthday, told in Spanish."""
    name, day, thing = random.choice(NAMES), random.randint(1, 28), random.choice(THINGS)
    told = f"El cumpleaños de {name} es el {day} de septiembre y quiere un regalo: {thing}."
    return Exchange(told, "Lo apunto.", f"¿Cuándo es el cumpleaños de {name}?")


KINDS = (flight, allergy, meeting, purchase, fault, reise, cumple)


def exchanges(random: Random) -> Iterator[Exchange]:
    """One exchange after the other, without an end."""
    while True:
        yield random.choice(KINDS)(random)


def remark(random: Random) -> str:
    """What an agent notes of a step of its work."""
    system, count = random.choice(SYSTEMS), random.randint(2, 900)
    return (
        f"Step {random.randint(1, 40)}: looked through {count} entries of {system} for"
        f" {random.choice(NAMES)}; {random.randint(0, count)} of them are about"
        f" {random.choice(TOPICS)}. Next: {random.choice(CITIES)}."
    )


def old_chat(
    random: Random, conversation_id: str, tenant_id: str, size: int
) -> list[dict[str, str]]:
    """`size` messages of an old conversation, as bodies of a batch."""
    found: list[dict[str, str]] = []
    for exchange in exchanges(random):
        for role, content in (("user", exchange.told), ("assistant", exchange.answered)):
            found.append(
                {
                    "tenant_id": tenant_id,
                    "conversation_id": conversation_id,
                    "role": role,
                    "content": content,
                }
            )
        if len(found) >= size:
            break
    return found[:size]
