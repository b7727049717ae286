"""Random lots of hits at random times, for whatever keeps windows."""

from typing import Any

from hypothesis import strategies as st

from memory.limits import Hit, read_limits
from memory.windows import MICROSECONDS

A_MINUTE = 60 * MICROSECONDS
LIMITS = read_limits("5/minute, 3 per second, 7/hour")

Step = tuple[int, list[Hit]]

HITS = st.builds(
    Hit, st.sampled_from(["a:1", "b:1"]), st.sampled_from(LIMITS), st.sampled_from([0, 1, 1, 2, 4])
)
# Moments, parts of a window, whole windows and more.
PAUSES = st.one_of(
    st.integers(0, 1_000),
    st.integers(0, 2 * MICROSECONDS),
    st.integers(0, A_MINUTE),
    st.sampled_from([MICROSECONDS, A_MINUTE, 60 * A_MINUTE]),
)


@st.composite
def steps(draw: Any) -> list[Step]:
    """Lots of hits, each with its time in microseconds, which never goes back."""
    now = draw(st.integers(0, 10**15))
    course = []
    for pause, lot in draw(
        st.lists(st.tuples(PAUSES, st.lists(HITS, min_size=1, max_size=3)), min_size=1, max_size=40)
    ):
        now += pause
        course.append((now, lot))
    return course
