import pytest
from attributor.api.negotiation import JSON, NPY, PNG, SVG, negotiate, unchanged, wanted_wait_s
from attributor.errors import InvalidRequest, NotAcceptable

OFFERS = (JSON, NPY, PNG)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/*", JSON),
        ("application/x-npy, application/json", JSON),
        ("application/json;q=0.5, application/x-npy", NPY),
        ("application/json;q=0.2, image/*;q=0.8, */*;q=0.1", PNG),
        ("*/*, application/json;q=0", NPY),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("image/png ; q = 0.9 , application/x-npy;q=0.8", PNG),
        ("application/json;version=1", JSON),
        ("image/png;q=nonsense, application/x-npy;q=0.1", NPY),
    ],
)
def test_the_offer_that_is_liked_best_is_chosen(accept, chosen):
    assert negotiate(accept, OFFERS) == chosen


@pytest.mark.parametrize("accept", ["text/html", "*/*;q=0", "image/svg+xml", "application/json;q=0", "json", "*"])
def test_what_is_not_offered_is_not_acceptable_and_the_offers_are_named(accept):
    with pytest.raises(NotAcceptable) as refused:
        negotiate(accept, OFFERS)
    assert refused.value.field == "Accept"
    assert all(offer in refused.value.detail for offer in OFFERS)


def test_of_equals_the_first_offer_wins():
    assert negotiate("image/*", (SVG, PNG)) == SVG


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("handling=wait", None),
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=5", 5),
        ("wait=5; level=high", 5),
        ("wait=0", 0),
        ("wait=99999999999999999999", 60),
    ],
)
def test_the_wanted_wait_is_read_and_capped(prefer, seconds):
    assert wanted_wait_s(prefer, 60) == seconds


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(prefer):
    with pytest.raises(InvalidRequest) as refused:
        wanted_wait_s(prefer, 60)
    assert refused.value.field == "Prefer"


@pytest.mark.parametrize("header", ['W/"3"', '"3"', '"1", W/"3"', "*"])
def test_an_etag_that_is_known_is_unchanged(header):
    assert unchanged(header, 'W/"3"')


@pytest.mark.parametrize("header", [None, "", '"33"', 'W/"2", "4"'])
def test_an_etag_that_is_not_known_has_changed(header):
    assert not unchanged(header, 'W/"3"')
