"""What the order wizard stashes, a view for each of its steps."""

from syncsessions.stash import RECONNECT, SESSION, ViewStash


class FiltersStash(ViewStash):
    """Step 1: the filters, and what was chosen with their help."""

    view = "demo.order.filters"
    keys = ["q", "category", "max_price", "sort", "in_stock", "product", "quantity"]
    client_keys = "__all__"


class DeliveryStash(ViewStash):
    """Step 2. The card number and the discount secret are fields of the page too, but no keys of the stash."""

    view = "demo.order.delivery"
    keys = ["name", "email", "address", "country", "delivery_date", "gift"]
    client_keys = "__all__"


class BriefStash(ViewStash):
    """Step 3: the draft follows the session into any tab; the notes in the margin belong to one tab."""

    view = "demo.order.brief"
    keys = {"brief": SESSION, "scratch": RECONNECT}
    client_keys = "__all__"


ORDER_STASHES: list[type[ViewStash]] = [FiltersStash, DeliveryStash, BriefStash]
