"""The demo's pages."""

from django.urls import path

from project.demo import handover, order, shop, views

app_name = "demo"
urlpatterns = [
    path("", views.FrontView.as_view(), name="front"),
    path("order/", order.ChooseView.as_view(), name="order"),
    path("order/delivery/", order.DeliveryView.as_view(), name="order_delivery"),
    path("order/brief/", order.BriefView.as_view(), name="order_brief"),
    path("order/elsewhere/", handover.HandoverView.as_view(), name="handover"),
    path("order/resume/", handover.resume, name="order_resume"),
    path("order/thanks/", order.thanks, name="order_thanks"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("continue/", handover.ContinueView.as_view(), name="continue"),
    path("drawing/", handover.DrawingView.as_view(), name="drawing"),
    path("qr/", handover.qr, name="qr"),
    path("shop/", shop.ShopView.as_view(), name="shop"),
    path("shop/history/", shop.history, name="shop_history"),
    path("shop/back/", shop.back, name="shop_back"),
    path("note/", views.NoteView.as_view(), name="note"),
]
