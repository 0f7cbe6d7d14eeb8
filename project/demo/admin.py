"""The print shop in the admin, beside the stash's own pages."""

from django.conf import settings
from django.contrib import admin

from project.demo.models import Order, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "category", "unit", "price", "in_stock"]
    list_filter = ["category", "in_stock"]
    search_fields = ["name", "description"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["__str__", "name", "product", "quantity", "total", "created_at"]
    list_filter = ["country", "gift"]
    date_hierarchy = "created_at"
    search_fields = ["name", "email"]


if settings.SITE:
    admin.site.site_header = admin.site.site_title = f"Print shop, site {settings.SITE}"
