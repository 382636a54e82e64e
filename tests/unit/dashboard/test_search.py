"""The search box: what is typed, what it means, and what is said when it means nothing."""

from hypothesis import given
from hypothesis import strategies as st

from flux.dashboard.http import Query
from flux.dashboard.search import quoted, read_search
from flux.domain.job import JobState


def search(text: str, **more: str):  # type: ignore[no-untyped-def]
    return read_search(Query((("q", text), *more.items())))


def test_every_field_is_understood() -> None:
    found = search(
        'type:email queue:a/b:c tag:"two words" key:k error:boom worker:w schedule:s payload.user.id:42'
    )
    assert not found.problems
    assert found.filter.type == "email"
    assert found.filter.queue == "a/b:c"
    assert found.filter.tag == "two words"
    assert found.filter.key == "k"
    assert found.filter.error == "boom"
    assert found.filter.worker_id == "w"
    assert found.filter.schedule_id == "s"
    assert found.filter.payload == (("user.id", "42"),)


def test_states_come_from_the_text_and_from_the_chips() -> None:
    found = search("state:dead state:dead", state="cancelled")
    assert found.filter.states == (JobState.CANCELLED, JobState.DEAD)


def test_a_bare_word_is_a_type_and_several_are_a_message() -> None:
    assert search("email").filter.type == "email"
    assert search("email queue:q").filter.type == "email"
    assert search("connection refused").filter.error == "connection refused"
    assert search("no-type! ").filter.error == "no-type!"


def test_an_id_leads_to_its_job() -> None:
    assert search(" 01a20f47-6d6b-789f-9ee3-365547f0d360 ").jump == "01a20f47-6d6b-789f-9ee3-365547f0d360"


def test_what_is_not_understood_is_said_and_left_out() -> None:
    found = search("flavour:sweet state:melted after:yesterday type:a")
    assert len(found.problems) == 3
    assert found.filter.type == "a"
    assert not found.filter.states


def test_a_term_can_be_left_out() -> None:
    found = search('type:a tag:"x y" boom bang')
    rest = dict(found.terms)
    assert rest["type:a"] == 'tag:"x y" boom bang'
    assert rest['tag:"x y"'] == "type:a boom bang"
    assert rest['error:"boom bang"'] == 'type:a tag:"x y"'


@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_quoting_comes_back(value: str) -> None:
    assert search(f"tag:{quoted(value)}").filter.tag == value


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    search(text)
