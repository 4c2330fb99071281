"""What this plugin does, in a sentence: gives a product a handle made of its title, whenever the title changes."""

import re

from tradewind import Action, Plugin, dumps, loads, log
from wit_world.imports.actions import Baseline


class SetHandle(Action):
    # Which records it runs on, and when.
    def describe(self, action):
        action.on_model("shopify/product", "create")
        action.on_model("shopify/product", "update")
        action.when_changed(["title"])

    # Before the change is committed: what is set here is stored with it, or nothing is.
    def run(self, call):
        product = call.record()
        if product.changed("title", Baseline.LOADED):
            product.set("handle", dumps(handle(loads(product.get("title")))))
        return None

    # After the commit: calls that write to Shopify go here.
    def success(self, call):
        log("info", "handle set", product=call.record().id())


def handle(title):
    """`Straw Hat, large` becomes `straw-hat-large`."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))


class WitWorld(Plugin):
    actions = {"plugin-name": SetHandle()}
