"""Other people's work in progress, so that the admin has sessions to show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.utils import timezone

from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner

USERS = ["ines.moreau", "tomas.lind", "grace.okafor", "jonas.weber"]

MINUTE, HOUR, DAY = 1, 60, 24 * 60


class Sample(NamedTuple):
    """One slice: its session, its ages in minutes (begun, last written, last seen), and the saves that made it."""

    session: str
    view: str
    begun: int
    written: int
    seen: int
    saves: list[dict[str, Any]]
    vsn: int = 1
    tab: str = ""


POEM = (
    "We are a small reading group of twelve, and for our tenth winter together we would like a broadside of one short "
    "poem. The poem has eighteen lines in three stanzas; the author has given us leave to print it and would like to "
    "see a proof.\n\nThe paper should be soft and warm, not bright white. One ink for the text, perhaps a dark green, "
    "and vermilion for the initial. We have no strong opinion on the type but would rather not have anything too fine: "
    "the prints will hang in kitchens.\n\n"
)
WEDDING = (
    "Two families, two languages: the invitation has French on the left and English on the right, and neither should "
    "look like a translation of the other. The ceremony is in a boathouse, so water, rope and tar are welcome; hearts "
    "are not.\n\nEighty sets, of which ten go overseas and must travel well. Reply cards with a stamp already on.\n\n"
)
NOTE = "Proofs for the gig poster go out on Thursday.\n\n- order more vermilion\n- roller 2 wants new trucks\n"

SAMPLES = [
    Sample("walk-in", "demo.order.filters", 14, 2, 1, [
        {"q": "", "category": ["cards"], "max_price": 400, "sort": "name", "in_stock": False},
        {"category": ["cards", "stationery"], "max_price": 180}, {"in_stock": True, "sort": "price"},
        {"product": "business-cards", "quantity": 2},
    ]),
    Sample("walk-in", "demo.order.delivery", 9, 3, 1, [{"name": "Ruth Abelard"}, {"email": "ruth@example.org"}]),
    Sample("reading-group", "demo.order.filters", 3 * HOUR, 2 * HOUR, 12, [
        {"category": ["posters"], "sort": "-price"}, {"product": "broadside", "quantity": 1},
    ]),
    Sample("reading-group", "demo.order.delivery", 2 * HOUR, 100, 12, [
        {"name": "Mireille Sandoval", "email": "mireille@example.net"},
        {"address": "Rua das Flores 14\n4050-262 Porto", "country": "PT", "gift": True},
    ]),
    Sample("reading-group", "demo.order.brief", 95, 12, 12, [
        {"brief": POEM[:180]}, {"brief": POEM}, {"brief": POEM * 3},
    ]),
    Sample("reading-group", "demo.order.brief", 90, 14, 12, [
        {"scratch": "ask about damp paper"}, {"scratch": "ask about damp paper, and who pays for the second proof?"},
    ], tab="5f0c1b7e92d84a36"),
    Sample("wedding", "demo.order.filters", 2 * DAY, 30 * HOUR, 5 * HOUR, [
        {"category": ["invitations"], "max_price": 400}, {"product": "wedding-suite", "quantity": 1},
    ]),
    Sample("wedding", "demo.order.brief", 31 * HOUR, 5 * HOUR, 5 * HOUR, [{"brief": WEDDING}, {"brief": WEDDING * 5}]),
    Sample("workshop", "demo.note", 6 * DAY, 35, 4, [
        {"note": NOTE[:47]}, {"note": NOTE}, {"note": NOTE + "- call Jonas\n"},
    ]),
    Sample("gig", "demo.order.filters", 4 * DAY, 4 * DAY, 3 * DAY, [
        {"q": "poster", "sort": "price"}, {"product": "gig-poster", "quantity": 3},
    ]),
    Sample("gig", "demo.order.delivery", 4 * DAY, 4 * DAY, 3 * DAY, [
        {"name": "Sly & the Serifs", "email": "band@example.com"},
        {"country": "IE", "address": "3 Fade Street\nDublin 2"},
    ]),
    Sample("old-page", "demo.order.delivery", 9 * DAY, 8 * DAY, 8 * DAY, [
        {"full_name": "Otto Brandt", "street": "Lindenallee 8", "town": "Kassel", "gift": "no"},
    ], vsn=0),
    Sample("old-page", "demo.order.delivery", 7 * DAY, 7 * DAY, 7 * DAY, [
        {"name": "Otto Brandt", "address": "Lindenallee 8\n34117 Kassel", "country": "DE", "gift": False},
    ]),
    Sample("browser-only", "demo.order.filters", 11 * DAY, 11 * DAY, 11 * DAY, [{"q": "coaster", "in_stock": True}]),
    Sample("two-tabs", "demo.order.brief", 50, 6, 6, [{"scratch": "left tab: short version"}], tab="a1d0e64b55c9f718"),
    Sample("two-tabs", "demo.order.brief", 48, 5, 5, [{"scratch": "right tab: long version"}], tab="c77b20f3ea1846d5"),
    Sample("two-tabs", "demo.order.brief", 52, 5, 5, [
        {"brief": "Bookplates with a fox on them."}, {"brief": "Bookplates with a fox on them. It should look left."},
    ]),
    Sample("quiet", "demo.note", 20 * DAY, 19 * DAY, 16 * DAY, [{"note": "Caslon 12 pt is short of k."}]),
    Sample("fading", "demo.order.filters", 29 * DAY, 28 * DAY, 28 * DAY, [{"category": ["books"]}, {"sort": "price"}]),
    Sample("past-its-time", "demo.order.delivery", 41 * DAY, 40 * DAY, 36 * DAY, [{"name": "A. N. Other"}]),
    Sample("user:ines.moreau", "studio.preferences", 60 * DAY, 2 * DAY, 3 * HOUR, [
        {"units": "mm", "grid": True}, {"zoom": 1.25, "palette": ["ink", "vermilion", "moss"]},
    ], vsn=3),
    Sample("user:ines.moreau", "studio.proof", 2 * DAY, 40, 30, [
        {"sheet": {"width": 500, "height": 700}, "marks": True}, {"comment": "Tighten the word spaces in line 4."},
    ]),
    Sample("user:tomas.lind", "studio.preferences", 90 * DAY, 25 * DAY, 1 * DAY, [
        {"units": "pica", "grid": False},
    ], vsn=2),
    Sample("user:grace.okafor", "studio.estimate", 5 * DAY, 22, 20, [
        {"sheets": 320, "impressions": 640}, {"hours": 6.5, "rush": False, "discount": None},
    ]),
]  # fmt: skip


def make_users() -> None:
    """Other users, none of whom can log in; one belongs to the staff."""
    for name in USERS:
        first, last = name.split(".")
        user, made = get_user_model()._default_manager.get_or_create(
            username=name,
            defaults={
                "first_name": first.title(),
                "last_name": last.title(),
                "email": f"{name}@example.org",
                "is_staff": name == USERS[0],
            },
        )
        if made:
            user.set_unusable_password()
            user.save()


def make_stashes() -> int:
    """Stash the samples that are not there, give all of them their ages, and tell of how many sessions they are."""
    now = timezone.now()
    for sample, stash, owner in _stashes():
        if stash.fetch_view(sample.view, sample.vsn, sample.tab) is None:
            for changes in sample.saves:
                stash.merge(sample.view, changes, sample.vsn, sample.tab)
        StashSlice.objects.filter(owner=owner.hash, view=sample.view, vsn=sample.vsn, tab=sample.tab).update(
            created_at=now - timedelta(minutes=sample.begun),
            written_at=now - timedelta(minutes=sample.written),
            last_seen_at=now - timedelta(minutes=sample.seen),
        )
    return len({sample.session for sample in SAMPLES})


def _stashes() -> Iterator[tuple[Sample, StashSession, Owner]]:
    users = get_user_model()._default_manager
    for sample in SAMPLES:
        kind, _, name = sample.session.partition(":")
        if kind == "user":
            stash = StashSession.for_user(users.get(username=name))
        else:
            stash = StashSession(f"demo-sample-{sample.session}")
        yield sample, stash, stash.ensure()
