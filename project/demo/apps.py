"""The demo: a fictional letterpress print shop."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "project.demo"
    label = "demo"
    verbose_name = "Print shop"
    default_auto_field = "django.db.models.BigAutoField"
