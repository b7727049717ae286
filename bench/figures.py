"""How good the answers to questions are."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bench.conversations import Question

HIT_AT = (1, 3, 5, 10)
RECALL_AT = (5, 10, 20)
DEPTH = 20


@dataclass(frozen=True)
class Answered:
    """A question with what search answered, best first.

    An item is a set of turns: the one that was found, with the neighbours returned beside it.
    """

    question: Question
    items: Sequence[AbstractSet[str]]


@dataclass(frozen=True)
class Scored:
    """The figures of some questions, each 0..1 and averaged over them."""

    questions: int
    hit: dict[int, float]
    recall: dict[int, float]
    mrr: float


@dataclass
class Result:
    """The figures of one configuration, for all questions and by group."""

    name: str
    parameters: dict[str, str]
    overall: Scored
    by_conversation: dict[str, Scored] = field(default_factory=dict)
    by_category: dict[str, Scored] = field(default_factory=dict)


def score(answered: Sequence[Answered]) -> Scored:
    """The figures of `answered`, which must not be empty.

    hit@k: any gold turn is in the first k items; recall@k: the share of the gold turns that is;
    MRR: 1 / the rank of the first item with a gold turn, 0 beyond `DEPTH`.
    """
    count = len(answered)
    return Scored(
        questions=count,
        hit={k: sum(found_share(each, k) > 0 for each in answered) / count for k in HIT_AT},
        recall={k: sum(found_share(each, k) for each in answered) / count for k in RECALL_AT},
        mrr=sum(reciprocal_rank(each) for each in answered) / count,
    )


def found_share(answered: Answered, k: int) -> float:
    """The share of the gold turns that is among the first `k` items."""
    gold = answered.question.gold
    return len(gold & frozenset().union(*answered.items[:k])) / len(gold)


def reciprocal_rank(answered: Answered) -> float:
    """1 / the rank of the first item that has a gold turn; 0 if none of the first `DEPTH` has."""
    for rank, item in enumerate(answered.items[:DEPTH], start=1):
        if item & answered.question.gold:
            return 1 / rank
    return 0.0


def summarise(
    name: str, parameters: dict[str, str], answers: Mapping[str, Sequence[Answered]]
) -> Result:
    """The figures of a configuration from its answers by conversation."""
    every = [each for of_one in answers.values() for each in of_one]
    categories = sorted({each.question.category for each in every})
    return Result(
        name=name,
        parameters=parameters,
        overall=score(every),
        by_conversation={conversation: score(of_one) for conversation, of_one in answers.items()},
        by_category={
            category: score([each for each in every if each.question.category == category])
            for category in categories
        },
    )
