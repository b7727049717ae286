"""The walk of a move: through all messages, giving those their vectors that lack them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from db.queries.embeddings import FILL_VECTORS, vector_parameters
from db.queries.models import wanted_models
from db.queries.moving import LACKING, MARK_REFUSED, PASSED
from db.queries.retention import NEXT_TENANT, WINDOW_END
from memory.embedding.batching import embed_contents
from memory.embedding.protocol import Embedder, Vectors
from memory.embedding.recipes import StoredModel
from memory.errors import EmbeddingRejectedError
from memory.retention_runs import FIRST
from tasks.embedding import CLAIM_CHARACTERS, REMOTE_CLAIM_MESSAGES
from tasks.jobs import Held
from tasks.resources import Resources
from tasks.storing import Claimed

# So many messages are looked through at once for those that lack vectors.
WINDOW_MESSAGES = 2_000
# Of the messages that the model refuses, so many are named.
NAMED = 20

Phase = Literal["register", "index", "fill", "judge", "switched"]


class Place(msgspec.Struct, kw_only=True):
    """How far a move is: the position of its job."""

    phase: Phase = "register"
    model_id: int = 0
    model: str = ""
    dimensions: int = 0
    builds: int = 0
    embedded: int = 0
    """Messages that got vectors in all rounds."""
    round: int = 1
    tenant: str = ""
    after: UUID = FIRST
    passed: int = 0
    filled: int = 0
    """Of this round: embedded messages that were passed, and those that got vectors."""
    refused: int = 0
    refused_ids: list[UUID] = msgspec.field(default_factory=list)
    """What the model would not take: of the first round, then of all that come after it."""

    def next_round(self) -> None:
        """Begin the walk again."""
        if self.round == 1:
            self.refused, self.refused_ids = 0, []
        self.phase, self.round = "fill", self.round + 1
        self.tenant, self.after, self.passed, self.filled = "", FIRST, 0, 0


class Embedded(NamedTuple):
    """What became of some messages: those with their vectors, and those refused with the reason."""

    made: list[tuple[Claimed, Vectors]]
    refused: list[tuple[Claimed, str]]


class Walk:
    """The walk where it stands; each step is a few dozen messages, or a window without any."""

    def __init__(self, resources: Resources, held: Held, place: Place) -> None:
        self.resources = resources
        self.held = held
        self.place = place
        self.named = {"tenant_id": place.tenant, "model_id": place.model_id}

    def go_on(self) -> bool:
        """Take the next step; False when the model is not being filled any more.

        That is so when the job had been cancelled, or had failed, and was taken up again.
        """
        place = self.place
        with self.resources.engine.begin() as connection:
            model = filled_model(connection, self.held, place)
            if model is None:
                return False
            if not place.tenant:
                self.next_tenant(connection)
                return True
            upto, lacking = self.look(connection)
        embedded = embed_apart(self.resources.models.embedder(model), lacking)
        with self.resources.engine.begin() as connection:
            self.store(connection, embedded)
            self.pass_by(connection, lacking[-1].id if lacking else upto)
        return True

    def look(self, connection: Connection) -> tuple[UUID | None, list[Claimed]]:
        """The end of the window, None for that of the tenant, and what in it lacks vectors."""
        here = {**self.named, "after": self.place.after}
        upto = connection.scalar(WINDOW_END, {**here, "most": WINDOW_MESSAGES})
        limits = {"upto": upto, "most": REMOTE_CLAIM_MESSAGES, "budget": CLAIM_CHARACTERS}
        return upto, [Claimed(*row) for row in connection.execute(LACKING, {**here, **limits})]

    def store(self, connection: Connection, embedded: Embedded) -> None:
        """Store vectors; what was refused in a later round too is no longer taken for embedded."""
        place = self.place
        if embedded.made:
            parameters = vector_parameters([(one.id, vectors) for one, vectors in embedded.made])
            connection.execute(
                FILL_VECTORS,
                {**self.named, **of_messages([one for one, _ in embedded.made]), **parameters},
            )
        refused = [one for one, _ in embedded.refused]
        if refused and place.round > 1:
            errors = [error for _, error in embedded.refused]
            connection.execute(
                MARK_REFUSED, {**self.named, **of_messages(refused), "errors": errors}
            )
        place.filled += len(embedded.made)
        place.embedded += len(embedded.made)
        place.refused += len(refused)
        place.refused_ids = [*place.refused_ids, *(one.id for one in refused)][:NAMED]

    def pass_by(self, connection: Connection, upto: UUID | None) -> None:
        """Note that the walk is at `upto`, or when that is None at the end of the tenant."""
        place = self.place
        window = {**self.named, "after": place.after, "upto": upto}
        passed = connection.execute(PASSED, window).one()
        place.passed += passed.embedded
        if upto is None:
            self.next_tenant(connection, passed.live)
            return
        place.after = upto
        self.note(connection, passed.live)

    def next_tenant(self, connection: Connection, passed: int = 0) -> None:
        """Go on to the next tenant; after the last one the round is judged."""
        place = self.place
        following = connection.scalar(NEXT_TENANT, {"after": place.tenant})
        place.tenant, place.after = following or "", FIRST
        if following is None:
            place.phase = "judge"
        self.note(connection, passed)

    def note(self, connection: Connection, passed: int) -> None:
        """Note the place; the first round is what the job's progress counts."""
        done = passed if self.place.round == 1 else 0
        # What is stored meanwhile is passed too.
        total = max(self.held.total or 0, self.held.done + done)
        self.held.advance(connection, msgspec.to_builtins(self.place), done, total)


def move_obstacle(resources: Resources) -> str:
    """Why a move cannot go on now, for the new model's provider does not answer; empty if it can.

    To be asked before the job is taken: an outage then costs it one attempt, however long it is.
    """
    filling = [model for model in resources.models.wanted() if model.filling]
    return resources.models.obstacle(filling, lately=True)


def filled_model(connection: Connection, held: Held, place: Place) -> StoredModel | None:
    """The model, while it is being filled and has been since this job began to."""
    for model in wanted_models(connection):
        if model.id == place.model_id and model.filled_by == held.id:
            return model
    return None


def of_messages(messages: Sequence[Claimed]) -> dict[str, list[Any]]:
    """The parameters that name `messages` as they were read."""
    return {
        "ids": [message.id for message in messages],
        "versions": [message.version for message in messages],
    }


def embed_apart(embedder: Embedder, messages: Sequence[Claimed]) -> Embedded:
    """Embed `messages`; when the model refuses them, by halves, until each is known by itself."""
    if not messages:
        return Embedded([], [])
    try:
        vectors = embed_contents(embedder, [message.content for message in messages])
    except EmbeddingRejectedError as error:
        if len(messages) == 1:
            return Embedded([], [(messages[0], error.in_full)])
        middle = len(messages) // 2
        one, other = (
            embed_apart(embedder, half) for half in (messages[:middle], messages[middle:])
        )
        return Embedded(one.made + other.made, one.refused + other.refused)
    return Embedded(list(zip(messages, vectors, strict=True)), [])
