"""What the print shop sells, and what was ordered."""

from __future__ import annotations

from decimal import Decimal

from django.db import models


class Category(models.TextChoices):
    CARDS = "cards", "Cards"
    INVITATIONS = "invitations", "Invitations"
    STATIONERY = "stationery", "Stationery"
    POSTERS = "posters", "Posters"
    BOOKS = "books", "Books"


class Country(models.TextChoices):
    AUSTRIA = "AT", "Austria"
    BELGIUM = "BE", "Belgium"
    DENMARK = "DK", "Denmark"
    FRANCE = "FR", "France"
    GERMANY = "DE", "Germany"
    IRELAND = "IE", "Ireland"
    ITALY = "IT", "Italy"
    NETHERLANDS = "NL", "Netherlands"
    NORWAY = "NO", "Norway"
    PORTUGAL = "PT", "Portugal"
    SPAIN = "ES", "Spain"
    SWEDEN = "SE", "Sweden"


class Product(models.Model):
    """Something the shop prints; the price is for one lot, which `unit` describes."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    category = models.CharField(max_length=20, choices=Category.choices)
    description = models.CharField(max_length=200)
    specimen = models.CharField(max_length=4, help_text="The sorts shown on the product's picture.")
    unit = models.CharField(max_length=40)
    price = models.DecimalField(max_digits=7, decimal_places=2)
    in_stock = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order as it was submitted. What stood in the password and card fields is not kept."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveSmallIntegerField()
    total = models.DecimalField(max_digits=9, decimal_places=2)
    name = models.CharField(max_length=120)
    email = models.EmailField()
    address = models.TextField(max_length=400)
    country = models.CharField(max_length=2, choices=Country.choices)
    delivery_date = models.DateField()
    gift = models.BooleanField(default=False)
    brief = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Order {self.pk}"

    @staticmethod
    def total_of(product: Product, quantity: int) -> Decimal:
        return product.price * quantity
