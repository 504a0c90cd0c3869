"""Public ids of jobs at the Messages face."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.ids import JobId
from orchestrator.http_api.messages.batch_objects import BatchIds

IDS, OTHERS = BatchIds("one lineage"), BatchIds("another")


@given(st.integers(1, 2**62))
def test_an_id_stands_for_one_job_of_one_store(number: int) -> None:
    """There and back, in the form of the API's ids; at another store it means nothing."""
    made = IDS.of(JobId(number))
    assert IDS.job(made) == number
    assert OTHERS.job(made) is None
    assert (made[:11], len(made), made[11:].isalnum(), made.isascii()) == ("msgbatch_01", 33, True, True)


def test_ids_do_not_tell_how_many_jobs_there_are() -> None:
    """Neighbours share nothing, and the same job always has the same id."""
    made = [IDS.of(JobId(number)) for number in range(1, 200)]
    assert len(set(made)) == len({one[11:22] for one in made}) == len({one[22:] for one in made}) == 199
    assert made == [BatchIds("one lineage").of(JobId(number)) for number in range(1, 200)]


@given(
    st.text(max_size=40) | st.text("0123456789azAZ", min_size=22, max_size=22).map(lambda text: f"msgbatch_01{text}")
)
def test_what_was_made_up_means_nothing(text: str) -> None:
    """Whatever stands in a path is no reason to fail."""
    assert IDS.job(text) is None


def test_a_changed_character_makes_an_id_mean_nothing() -> None:
    """Every character counts."""
    made = IDS.of(JobId(7))
    for place in range(11, 33):
        other = "a" if made[place] != "a" else "b"
        assert IDS.job(made[:place] + other + made[place + 1 :]) is None
