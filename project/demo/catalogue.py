"""What the print shop sells."""

from __future__ import annotations

from typing import NamedTuple

from project.demo.models import Category, Product


class Item(NamedTuple):
    slug: str
    name: str
    category: Category
    specimen: str
    unit: str
    price: str
    description: str
    in_stock: bool = True


ITEMS = [
    Item("calling-cards", "Calling cards", Category.CARDS, "Mx", "100 cards", "128.00",
         "A name and nothing else, black on 600 g cotton."),
    Item("business-cards", "Business cards", Category.CARDS, "&", "200 cards", "164.00",
         "Two inks, deep impression, edges left white."),
    Item("edge-painted-cards", "Edge-painted cards", Category.CARDS, "§", "200 cards", "212.00",
         "Business cards with an edge in vermilion, moss or slate."),
    Item("thank-you-cards", "Thank-you cards", Category.CARDS, "Ty", "50 cards", "86.00",
         "Folded, with envelopes, blank inside."),
    Item("wedding-suite", "Wedding suite", Category.INVITATIONS, "ffi", "80 sets", "390.00",
         "Invitation, reply card and envelope, set in Caslon."),
    Item("party-invitations", "Party invitations", Category.INVITATIONS, "!", "60 cards", "142.00",
         "One loud ink, wood type, a date nobody forgets."),
    Item("birth-announcements", "Birth announcements", Category.INVITATIONS, "ab", "60 cards", "148.00",
         "Soft grey and a little vermilion on uncoated board."),
    Item("save-the-date", "Save-the-date cards", Category.INVITATIONS, "31", "80 cards", "118.00",
         "Numerals the size of a hand, postcard stock.", False),
    Item("letterhead", "Letterhead", Category.STATIONERY, "A4", "250 sheets", "176.00",
         "Laid paper with a watermark, one ink."),
    Item("correspondence-cards", "Correspondence cards", Category.STATIONERY, "Dr", "100 cards", "132.00",
         "Flat cards with a border rule and lined envelopes."),
    Item("bookplates", "Bookplates", Category.STATIONERY, "Ex", "120 plates", "68.00",
         "Gummed paper, from your drawing or from our ornaments."),
    Item("coasters", "Coasters", Category.STATIONERY, "O", "100 coasters", "94.00",
         "Pulp board that drinks the ink, then the drink."),
    Item("broadside", "Poem broadside", Category.POSTERS, "¶", "40 prints", "240.00",
         "One poem, hand-set, printed damp on mould-made paper."),
    Item("gig-poster", "Gig poster", Category.POSTERS, "#1", "60 prints", "285.00",
         "Wood type in two colours on 50 by 70 cm."),
    Item("alphabet-print", "Alphabet print", Category.POSTERS, "Zz", "20 prints", "156.00",
         "All the sorts of one case, upper and lower.", False),
    Item("chapbook", "Chapbook", Category.BOOKS, "“”", "50 copies", "360.00",
         "Sixteen pages, sewn by hand, with a printed cover."),
    Item("pocket-notebook", "Pocket notebook", Category.BOOKS, "№", "50 copies", "198.00",
         "Dotted pages between covers of 700 g board."),
]  # fmt: skip


def fill() -> None:
    """Make the products, or bring them up to date."""
    for item in ITEMS:
        Product.objects.update_or_create(slug=item.slug, defaults=item._asdict())
