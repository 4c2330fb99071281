"""Tags a product with the words that its description uses most."""

from tradewind import Action, Plugin, PluginError, dumps, loads, log
from wit_world.imports.actions import Baseline
from wit_world.imports.shopify import Client

from keywords import keywords

ADD_TAGS = (
    "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }"
)


class TagProduct(Action):
    # Once, when the plugin is installed: when should this action run, and which parameters does it take?
    def describe(self, action):
        action.on_model("shopify/product", "create")
        action.on_model("shopify/product", "update")
        action.when_changed(["body"])
        schema = {"type": "integer", "minimum": 1, "maximum": 20, "default": 5}
        action.param("limit", dumps(schema), required=False)

    # Before the change is stored: choose the tags. What this returns is handed to `success`.
    def run(self, call):
        record = call.record()
        if record is None:
            raise PluginError("record-required", "`tag-product` runs on a record")
        if not record.changed("body", Baseline.LOADED):
            return {"keywords": []}
        limit = loads(call.param("limit")) or 5
        return {"keywords": keywords(loads(record.get("body")), limit)}

    # After the change is stored: tell Shopify. Adding a tag twice does no harm, so neither does running twice.
    def success(self, call):
        tags = loads(call.run_result())["keywords"]
        if not tags:
            return
        shopify = Client.current()
        if shopify is None:
            raise PluginError("shop-required", "there is no current Shopify shop")
        product = f"gid://shopify/Product/{call.record().id()}"
        shopify.graphql(ADD_TAGS, dumps({"id": product, "tags": tags}), "null")
        log("info", "product tagged", tags=len(tags))


class WitWorld(Plugin):
    actions = {"tag-product": TagProduct()}

    def describe_plugin(self, registrar):
        registrar.set_option("title", dumps("Product tagger"))
        registrar.ask("shopify", dumps({"scopes": ["write_products"]}))
